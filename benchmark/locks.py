"""Who trains a study: one process at a time, and others can see whether there is one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.errors import InputError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a study's folder against a second process. Raises InputError if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / "running.lock"), folder / "running.json"
    try:
        lock.acquire(timeout=1)  # whoever only looks whether it is held holds it for a moment
    except Timeout:
        who = _owner(owner)
        raise InputError(
            f"{folder}: this study is already running (process {who}); wait for it or stop it"
        ) from None
    try:
        owner.write_text(json.dumps({"pid": os.getpid()}))
        yield
        owner.unlink(missing_ok=True)
    finally:
        lock.release()


def running(folder: Path) -> bool:
    """Whether a living process holds a study's folder."""
    lock = folder / "running.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _owner(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["pid"])
    except (OSError, ValueError, LookupError):
        return "unknown"
