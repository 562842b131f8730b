"""Images stored as files, for the source kinds that read local folders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import torch

from benchmark.data.cache import checksum
from benchmark.data.sources.base import Part
from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.study.schema import FileDataset


class Files(Part):
    """Images stored as files.

    Args:
        folder: Folder that contains the files.
        names: Path of each file, relative to the folder.
        labels: Label of each file.
    """

    def __init__(self, folder: Path, names: list[str], labels: list[int]):
        self.folder = folder
        self.names = names
        self.labels = torch.tensor(labels, dtype=torch.int64)

    def where(self, index: int) -> str:
        """Return the path of a file."""
        return str(self.folder / self.names[index])

    def read(self, index: int) -> Path:
        """Return the path of a file."""
        return self.folder / self.names[index]

    def digest(self, index: int) -> str:
        """Return the SHA-256 of a file's bytes.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            with self.read(index).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.where(index)}: cannot be read ({error.strerror})") from None

    def digests(self, pool: Executor, memo_folder: Path) -> list[str]:
        """Return the digests of all files, reusing saved digests of unchanged files."""
        folder_hash = hashlib.sha256(str(self.folder).encode()).hexdigest()
        memo = memo_folder / f"hashes-{folder_hash[:16]}.json"
        digests = _read_memo(memo)
        stamps = self._stamps()
        new = [index for index, stamp in enumerate(stamps) if stamp not in digests]
        for index, digest in zip(new, pool.map(self.digest, new), strict=True):
            digests[stamps[index]] = digest

        if new:
            current = {stamp: digests[stamp] for stamp in stamps}
            write_json(memo, {"check": checksum(current), "hashes": current})
        return [digests[stamp] for stamp in stamps]

    def title(self, index: int) -> str:
        """Return the path of a file, relative to the folder."""
        return self.names[index]

    def _stamps(self) -> list[str]:
        """Return the name, size and modification time of each file, to detect changes."""
        stamps: list[str] = []
        for name in self.names:
            status = (self.folder / name).stat()
            stamps.append(f"{name}:{status.st_size}:{status.st_mtime_ns}")
        return stamps


def _read_memo(path: Path) -> dict[str, str]:
    """Return the saved digests by stamp; empty if the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
        digests: dict[str, str] = content["hashes"]
        return digests if checksum(digests) == content["check"] else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def find_folder(dataset: FileDataset, name: str) -> Path | None:
    """Return `name` below the data set's root, else `name` itself; None if neither is a folder."""
    for folder in (Path(dataset.root, name), Path(name)):
        if folder.is_dir():
            return folder.resolve()

    return None


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files below a folder, sorted, with their paths relative to it.

    Raises:
        InputError: A symbolic link is broken.
    """
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()  # os.walk descends in this order
        for file in sorted(files):
            path = f"{parent}/{file}"
            try:
                status = os.stat(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None
            yield path[len(str(folder)) + 1 :], status


def signature(folder: Path) -> list[str]:
    """Return a folder's path and a hash of its files' names, sizes and modification times."""
    stamps = [(name, status.st_size, status.st_mtime_ns) for name, status in walk(folder)]
    return [str(folder), hashlib.sha256(repr(stamps).encode()).hexdigest()]
