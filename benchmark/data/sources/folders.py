"""Images in files: a folder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmark.data.sources.base import Located, Part, Source, splits
from benchmark.errors import InputError
from benchmark.study.schema import ClassFolders, FileDataset

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class Files(Part):
    """Images in files.  names: relative to the folder."""

    def __init__(self, folder: Path, names: list[str], labels: list[int]):
        self.folder, self.names, self.labels = (
            folder,
            names,
            torch.tensor(labels, dtype=torch.int64),
        )

    def where(self, place: int) -> str:
        """The path of a file."""
        return str(self.folder / self.names[place])

    def read(self, place: int) -> Path:
        """The path of a file."""
        return self.folder / self.names[place]

    def digest(self, place: int) -> str:
        """SHA-256 of a file. Raises InputError if it cannot be read."""
        try:
            with self.read(place).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.where(place)}: cannot be read ({error.strerror})") from None

    def title(self, place: int) -> str:
        """The name of a file."""
        return self.names[place]

    def stamps(self) -> Iterator[tuple[str, int, int]]:
        """Name, size and time of each file, by which a changed one is known."""
        for name in self.names:
            status = (self.folder / name).stat()
            yield name, status.st_size, status.st_mtime_ns


def files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All files below a folder, by name relative to it, in order. Raises InputError for a link that leads nowhere."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for path in (f"{parent}/{name}" for name in sorted(names)):
            try:
                yield path[len(str(folder)) + 1 :], os.stat(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def signature(folder: Path) -> list[str]:
    """Of a folder: its place, and names, sizes and times of all its files."""
    stamps = [(name, status.st_size, status.st_mtime_ns) for name, status in files(folder)]
    return [str(folder), hashlib.sha256(repr(stamps).encode()).hexdigest()]


def local(dataset: FileDataset, name: str) -> Path | None:
    """The folder that a name means, below the data set's root or as it is."""
    return next(
        (path.resolve() for path in (Path(dataset.root, name), Path(name)) if path.is_dir()), None
    )


def folder(dataset: ClassFolders, name: str) -> Located:
    """The folder of class folders that `folder/<name>` means. Raises InputError."""
    folder = local(dataset, name)
    if folder is None:
        raise InputError(
            f"dataset: no folder {Path(dataset.root, name)}, nor {name} as it is; see dataset.root"
        )
    train, test = (_one_of(folder, split) for split in splits(dataset))
    return Located([signature(train), signature(test)], lambda _: _class_folders(train, test))


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise InputError(
            f"dataset: {folder} has no folder {' or '.join(names)}; it must hold a folder per class"
        )
    return found


def _class_names(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )


def _class_folders(train: Path, test: Path) -> Source:
    parts, classes = [], []
    for folder in (train, test):
        classes.append(_class_names(folder))
        if not classes[-1]:
            raise InputError(f"dataset: {folder} has no folders; it must hold one for each class")
        names, labels = [], []
        for label, name in enumerate(classes[-1]):
            found = [
                file for file, _ in files(folder / name) if Path(file).suffix.lower() in SUFFIXES
            ]
            if not found:
                raise InputError(f"dataset: {folder / name} has no images")
            names += [f"{name}/{file}" for file in found]
            labels += [label] * len(found)
        parts.append(Files(folder, names, labels))
    odd = sorted(set(classes[0]) ^ set(classes[1]))
    if odd:
        there, missing = (train, test) if odd[0] in classes[0] else (test, train)
        raise InputError(f"dataset: {there} has a class folder {odd[0]!r} that {missing} has not")
    return Source(parts[0], parts[1], len(classes[0]))
