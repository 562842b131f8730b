"""Folders of image files: one folder per class."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.sources._files import Files, find_folder, signature, walk
from benchmark.data.sources.base import Located, Source, SourceKind, split_names
from benchmark.errors import InputError
from benchmark.study import schema

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

        train, test = (_split_folder(folder, names) for names in split_names(dataset))
        return Located([signature(train), signature(test)], lambda _: _load(train, test))


def _split_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first existing folder with one of these names."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name

    raise InputError(
        f"dataset: {folder} has no folder {' or '.join(names)}; "
        "add one that contains a folder per class"
    )


def _load(train: Path, test: Path) -> Source:
    """List the files of all classes; both folders must have the same classes."""
    train_classes = _class_names(train)
    train_files = _list_files(train, train_classes)
    test_classes = _class_names(test)
    test_files = _list_files(test, test_classes)

    if unmatched := sorted(set(train_classes) ^ set(test_classes)):
        name = unmatched[0]
        has, lacks = (train, test) if name in train_classes else (test, train)
        raise InputError(
            f"dataset: {has} has a class folder {name!r} that {lacks} lacks; add or remove it"
        )

    return Source(train_files, test_files, len(train_classes))


def _class_names(folder: Path) -> list[str]:
    """Return the sorted names of the class folders; there must be at least one."""
    names = [
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    ]
    if not names:
        raise InputError(f"dataset: {folder} has no folders; add one for each class")

    return sorted(names)


def _list_files(folder: Path, classes: list[str]) -> Files:
    """List the image files of each class folder; a file's label is the index of its class."""
    names: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        files = [
            file for file, _ in walk(folder / class_name) if Path(file).suffix.lower() in SUFFIXES
        ]
        if not files:
            raise InputError(
                f"dataset: {folder / class_name} has no images; add some or remove the class"
            )

        names += [f"{class_name}/{file}" for file in files]
        labels += [label] * len(files)

    return Files(folder, names, labels)
