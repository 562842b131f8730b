"""Locks on studies: one process trains a study at a time, and others can see it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.errors import InputError

LOCK = "running.lock"
"""File in a study's folder that the training process holds locked."""

OWNER = "running.json"
"""File in a study's folder with the id of the training process."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a study's folder for this process.

    Raises:
        InputError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / LOCK), folder / OWNER
    try:
        lock.acquire(timeout=1)  # `running` holds the lock for a moment
    except Timeout:
        process = _process_id(owner)
        problem = f"this study is already running (process {process})"
        raise InputError(f"{folder}: {problem}; wait for it or stop it") from None

    try:
        owner.write_text(json.dumps({"pid": os.getpid()}))
        yield
        owner.unlink(missing_ok=True)
    finally:
        lock.release()


def running(folder: Path) -> bool:
    """Return whether a living process has locked a study's folder."""
    path = folder / LOCK
    if not path.exists():
        return False

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _process_id(owner: Path) -> str:
    try:
        return str(json.loads(owner.read_text())["pid"])
    except (OSError, ValueError, LookupError):
        return "unknown"
