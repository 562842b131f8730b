"""A lock is seen by processes that cannot write to the workspace."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError
from benchmark.locks import LOCK, OWNER, locked, running


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's folder in which this process can open no file for writing."""

    def refuse(path: Path, **_: object) -> FileLock:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(locks, "FileLock", refuse)
    return tmp_path


def test_a_folder_is_running_while_it_is_locked(tmp_path: Path) -> None:
    assert not running(tmp_path)
    with locked(tmp_path):
        assert running(tmp_path)
    assert not running(tmp_path)


def test_a_folder_that_cannot_be_written_is_not_locked_and_named_in_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / OWNER).mkdir()
    (tmp_path / OWNER / "file").touch()
    with pytest.raises(InputError) as error, locked(tmp_path):
        pass
    assert str(error.value).startswith(f"{tmp_path / OWNER}: cannot be written (Is a directory); ")
    assert not running(tmp_path)


def test_a_lock_in_a_read_only_folder_is_seen_and_nothing_is_written(read_only: Path) -> None:
    (read_only / LOCK).touch()
    assert not running(read_only)

    with FileLock(read_only / LOCK):
        assert running(read_only)
