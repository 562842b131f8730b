"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.failpoint import failpoint


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content as a whole: after a crash at any moment it holds the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        failpoint("write.before_replace")
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError(unwritten(path, error)) from error


def write_json(path: Path, content: Any) -> None:
    """Writes readable JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def write_all(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Writes the files of a folder, by their names, each atomically; makes the folder where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(unwritten(folder, error)) from error
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def unwritten(path: Path, error: OSError) -> str:
    """What a user reads of a file that could not be written."""
    free = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with contextlib.suppress(OSError):
            free = f"; {shutil.disk_usage(path.parent).free >> 20} MiB free"
    return f"{path}: cannot be written ({error.strerror}{free})"


def _sync_folder(folder: Path) -> None:
    """Brings the names of a folder's files to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
