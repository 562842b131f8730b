"""Write files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import InputError, remedy
from benchmark.failpoint import failpoint

_ABANDONED = 3600.0
"""Seconds after which nobody is still writing a file."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace a file atomically: after a crash, its content is either the old or the new one.

    Raises:
        InputError: The file cannot be written.
    """
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
        raise write_error(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Replace a file with indented JSON with sorted keys, atomically.

    Raises:
        InputError: The file cannot be written.
    """
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_atomically(path, text.encode())


def read_json(path: Path, *keys: str, remedy: str) -> dict[str, Any]:
    """Read a mapping that `write_json` wrote.

    Args:
        path: The file.
        keys: Keys that the mapping must have.
        remedy: What to do if the file is damaged, for the message.

    Raises:
        InputError: The file cannot be read, is not JSON, or lacks a key.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError):
        content = None

    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise InputError(f"{path}: damaged; {remedy}")
    return content


def write_all(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, each atomically, and remove what a killed process left there.

    Args:
        folder: The folder; it is created if it does not exist.
        contents: Content of each file, by file name.

    Returns:
        The paths of the files.

    Raises:
        InputError: The folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
    except OSError as error:
        raise write_error(folder, error) from error

    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def write_error(path: Path, error: OSError) -> InputError:
    """Return the error for an unwritable file, with a remedy, and the free space if it is full."""
    free = ""
    if error.errno in _DISK_FULL:
        with contextlib.suppress(OSError):
            mebibytes = shutil.disk_usage(path.parent).free >> 20
            free = f"; {mebibytes} MiB free"

    return InputError(f"{path}: cannot be written ({error.strerror}{free}){remedy(error)}")


def _remove_abandoned(folder: Path) -> None:
    """Remove the files that processes had begun to write when they were killed."""
    for path in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
