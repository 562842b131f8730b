"""Images stored as files, for the source kinds that read local folders."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import torch
from PIL import Image

from benchmark.data.cache import checksum
from benchmark.data.sources._pixels import has_one_colour
from benchmark.data.sources.base import Examined, Part, attempt_all
from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.printable import printable
from benchmark.study.schema import FileDataset

_NO_DATA = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "lost+found", "$RECYCLE.BIN"}
"""What operating systems and file servers put into folders, besides hidden files."""

READING_RULES = "2"
"""Version of the rules by which images are read."""


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
        return printable(str(self.folder / self.names[index]))

    def read(self, index: int) -> Path:
        """Return the path of a file."""
        return self.folder / self.names[index]

    def examine(self, index: int) -> Examined:
        """Hash a file's bytes, and decode it to see whether it is whole.

        JPEG files are decoded at an eighth of their size, which reads all of their data in a
        fraction of the time.

        Raises:
            InputError: The file cannot be read or decoded.
        """
        path = self.read(index)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.where(index)}: cannot be read ({error.strerror})") from None

        try:
            with Image.open(path) as image:
                reduced = image.draft(None, (1, 1)) is not None
                one_colour = has_one_colour(image)
        except Exception as error:  # decoders raise many kinds of error for a damaged image
            raise self.undecodable(index, error) from error

        if one_colour and reduced:  # fine detail may have been lost
            one_colour = has_one_colour(self.image(index))
        return Examined(digest, one_colour)

    def examine_all(self, pool: Executor, memo_folder: Path) -> tuple[list[Examined], list[str]]:
        """Examine all files, reusing the results of files that are unchanged."""
        folder_hash = hashlib.sha256(os.fsencode(self.folder)).hexdigest()
        memo = memo_folder / f"files-{folder_hash[:16]}.json"
        known = _read_memo(memo)
        stamps = self._stamps()
        new = [index for index, stamp in enumerate(stamps) if stamp not in known]
        results, problems = attempt_all(self.examine, new, pool)
        known |= {stamps[index]: examined for index, examined in results.items()}

        if new:
            current = {stamp: known[stamp] for stamp in stamps if stamp in known}
            write_json(memo, {"check": checksum(current), "files": current})
        return [known[stamp] for stamp in stamps if stamp in known], problems

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


def _read_memo(path: Path) -> dict[str, Examined]:
    """Return the saved results by stamp; empty if the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
        files = content["files"]
        if checksum(files) != content["check"]:
            return {}
        return {stamp: Examined(*examined) for stamp, examined in files.items()}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def find_folder(dataset: FileDataset, name: str) -> Path | None:
    """Return `name` below the data set's root, else `name` itself; None if neither is a folder."""
    for folder in (Path(dataset.root, name), Path(name)):
        if folder.is_dir():
            return folder.resolve()

    return None


def is_hidden(name: str) -> bool:
    """Return whether a file or folder was put there by a program and is no data."""
    return name.startswith(".") or name in _NO_DATA


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files below a folder, sorted, with their paths relative to it.

    Hidden files and folders are left out.

    Raises:
        InputError: A symbolic link is broken, or leads to a folder that contains it.
    """
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))  # os.walk descends so
        for name in folders:
            _refuse_loop(f"{parent}/{name}")

        for file in sorted(name for name in files if not is_hidden(name)):
            path = f"{parent}/{file}"
            try:
                status = os.stat(path)
            except OSError as error:
                reason = error.strerror
                raise InputError(f"{path}: cannot be read ({reason})") from None
            yield path[len(str(folder)) + 1 :], status


def _refuse_loop(path: str) -> None:
    """Raise InputError if a link leads to a folder that contains it."""
    if not os.path.islink(path):
        return

    target = os.path.realpath(path)
    if os.path.commonpath([target, os.path.realpath(os.path.dirname(path))]) == target:
        raise InputError(f"{path}: is a link to a folder that contains it; remove the link")


def signature(folder: Path) -> list[str]:
    """Return a folder's path and a hash of its files' names, sizes and modification times.

    The version of the rules by which images are read follows, so that images that were decoded by
    earlier rules are decoded again.
    """
    stamps = [(name, status.st_size, status.st_mtime_ns) for name, status in walk(folder)]
    return [str(folder), hashlib.sha256(repr(stamps).encode()).hexdigest(), READING_RULES]
