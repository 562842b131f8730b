"""A damaged database is found, and a sound one is read once as long as it stays as it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from benchmark.sqlite_check import check_pages


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with two tables, one of which has many pages."""
    path = tmp_path / "some.db"
    with contextlib.closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("create table small (number int)")
        opened.execute("create table large (content text)")
        opened.executemany("insert into large values (?)", [("x" * 1000,)] * 100)
    return path


def damage(path: Path) -> None:
    """Replace a page in the middle by zeros, without a trace in the size or the time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(10 * 4096)
        file.write(bytes(4096))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_sound_database_is_known_by_its_tables(database: Path) -> None:
    assert check_pages(database, 1.0) == {"small", "large"}


def test_a_damaged_page_is_found_and_found_again(database: Path) -> None:
    damage(database)
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError):
            check_pages(database, 1.0)


def test_a_database_that_stays_as_it_is_is_read_once(database: Path) -> None:
    check_pages(database, 1.0)
    damage(database)  # so only a second reading could find it
    assert check_pages(database, 1.0) == {"small", "large"}


def test_a_database_that_has_changed_is_read_again(database: Path) -> None:
    check_pages(database, 1.0)
    damage(database)
    os.utime(database)
    with pytest.raises(sqlite3.DatabaseError):
        check_pages(database, 1.0)


def test_a_database_with_changes_in_another_file_is_always_read(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        opened.execute("pragma journal_mode = wal")
        opened.execute("insert into small values (1)")
        opened.commit()
        for _ in range(2):
            check_pages(database, 1.0)
        damage(database)
        with pytest.raises(sqlite3.DatabaseError):
            check_pages(database, 1.0)


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        check_pages(tmp_path / "none.db", 1.0)
    assert not list(tmp_path.iterdir())
