"""Folders of image files: one folder per class."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.sources._files import Files, find_folder, is_hidden, signature, walk
from benchmark.data.sources.base import Located, Source, SourceKind, split_names
from benchmark.errors import InputError
from benchmark.printable import printable
from benchmark.study import schema
from benchmark.wording import listed

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class ClassFolders(SourceKind[schema.ClassFolders]):
    """`folder/<path>`: a folder with one folder per class in `train` and in `test`."""

    prefix = "folder"
    argument = "<path>"

    def locate(self, dataset: schema.ClassFolders, argument: str) -> Located:
        """Find the folders with the training and test images."""
        folder = find_folder(dataset, argument)
        if folder is None:
            raise InputError(
                f"dataset: there is neither a folder {Path(dataset.root, argument)} "
                f"nor a folder {argument}; check dataset.name and dataset.root"
            )

        train, test = _split_folders(folder, dataset)
        return Located([signature(train), signature(test)], lambda _: _load(train, test))


def _split_folders(folder: Path, dataset: schema.ClassFolders) -> tuple[Path, Path]:
    """Return the folders with the training and test images: the first that exist."""
    found: list[Path] = []
    problems: list[str] = []
    for names in split_names(dataset):
        existing = [folder / name for name in names if (folder / name).is_dir()]
        found += existing[:1]
        if not existing:
            problems.append(
                f"dataset: {folder} has no folder {' or '.join(names)}; "
                "add one that contains a folder per class"
            )

    if problems:
        raise InputError(*problems)
    train, test = found
    return train, test


def _load(train: Path, test: Path) -> Source:
    """List the files of all classes; both folders must have the same classes.

    Raises:
        InputError: Class folders or images are missing. The message has a line for every kind of
            problem, with the names of the folders.
    """
    classes = {folder: _class_names(folder) for folder in (train, test)}
    files = {folder: _list_files(folder, classes[folder]) for folder in (train, test)}

    problems: list[str] = []
    for folder in (train, test):
        if not classes[folder]:
            problems.append(f"dataset: {folder} has no folders; add one for each class")
        labels = set(files[folder].labels.tolist())
        empty = [name for label, name in enumerate(classes[folder]) if label not in labels]
        if empty:
            problems.append(
                f"dataset: {folder}: no images in {_folders(empty)}; add some or remove the "
                f"{'class' if len(empty) == 1 else 'classes'}"
            )

    if all(classes.values()):
        for has, lacks in ((train, test), (test, train)):
            if unmatched := sorted(set(classes[has]) - set(classes[lacks])):
                problems.append(
                    f"dataset: {lacks} lacks {_folders(unmatched)} of {has}; add or remove "
                    f"{'it' if len(unmatched) == 1 else 'them'}"
                )
    if problems:
        raise InputError(*problems)
    names = tuple(printable(name) for name in classes[train])
    return Source(files[train], files[test], len(names), names)


def _folders(names: list[str]) -> str:
    noun = "the class folder" if len(names) == 1 else "the class folders"
    return f"{noun} {listed(names)}"


def _class_names(folder: Path) -> list[str]:
    """Return the sorted names of the class folders."""
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)
    )


def _list_files(folder: Path, classes: list[str]) -> Files:
    """List the image files of each class folder; a file's label is the index of its class."""
    names: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        files = [
            file for file, _ in walk(folder / class_name) if Path(file).suffix.lower() in SUFFIXES
        ]
        names += [f"{class_name}/{file}" for file in files]
        labels += [label] * len(files)

    return Files(folder, names, labels)
