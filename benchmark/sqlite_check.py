"""Checks SQLite databases for damage, each state of a file once per process."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_State = tuple[int, int, int]
"""A file's inode, its size in bytes and the time of its last change in nanoseconds."""

_sound: dict[Path, _State] = {}
"""The databases that were found to be sound, and their states then."""


def check_pages(database: Path, patience: float) -> set[str]:
    """Let SQLite read every page of a database, unless the file is as it was when it was sound.

    Args:
        database: The file.
        patience: Seconds to wait for another process that has locked it.

    Returns:
        The names of its tables and indexes.

    Raises:
        sqlite3.OperationalError: It cannot be opened, or another process has locked it.
        sqlite3.DatabaseError: It is damaged.
    """
    state = _state(database)
    address = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=patience)) as opened:
        if state is None or _sound.get(database) != state:
            (verdict,) = opened.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(" ".join(verdict.split()))

        names = {name for (name,) in opened.execute("select name from sqlite_master")}

    # A change while it was being read, such as the undoing of a broken transaction, is left for
    # the next time.
    if state is not None:
        _sound[database] = state
    return names


def _state(database: Path) -> _State | None:
    """Return the state of a file; None if changes may be in another file, or nothing is known."""
    try:
        log = database.with_name(f"{database.name}-wal")
        if log.exists():
            return None
        status = database.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
