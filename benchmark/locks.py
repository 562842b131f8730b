"""Locks that let only one process at a time train a study, and that other processes can detect."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.errors import InputError
from benchmark.files import write_error

LOCK = "running.lock"
"""Lock file in a study's folder, locked by the training process."""

OWNER = "running.json"
"""File in a study's folder that contains the process ID of the training process."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a study's folder for this process.

    Raises:
        InputError: Another process holds the lock, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / LOCK), folder / OWNER
    try:
        lock.acquire(timeout=1)  # `running` briefly takes the lock
    except Timeout:
        process = _process_id(owner)
        problem = f"this study is already running (process {process})"
        raise InputError(f"{folder}: {problem}; wait for it or stop it") from None

    try:
        _write_owner(owner)
        yield
    finally:
        with contextlib.suppress(OSError):  # the lock counts, not the file
            owner.unlink()
        lock.release()


@contextmanager
def exclusive(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock.

    Args:
        path: The lock file.
        wait: Called before the lock is waited for, if another process holds it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)  # a check may hold it briefly
    except Timeout:
        wait()
        lock.acquire()

    try:
        yield
    finally:
        lock.release()


def running(folder: Path) -> bool:
    """Return whether a running process has locked a study's folder."""
    path = folder / LOCK
    if not path.exists():
        return False

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return _locked_elsewhere(path)


def _locked_elsewhere(path: Path) -> bool:
    """Return whether a process has locked a file that this one can only read."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # a file that cannot be read is not locked by a run of this workspace's user
    return False


def _write_owner(owner: Path) -> None:
    try:
        owner.write_text(json.dumps({"pid": os.getpid()}))
    except OSError as error:
        raise write_error(owner, error) from error


def _process_id(owner: Path) -> str:
    try:
        return str(json.loads(owner.read_text())["pid"])
    except (OSError, ValueError, LookupError):
        return "unknown"
