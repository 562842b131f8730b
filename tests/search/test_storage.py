"""A storage that cannot be used is told in one line, without its password."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.support.commandline import kdbench
from tests.support.studies import tiny, write_study


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://someone:s3cret@127.0.0.1:1/none",
        "nonsense://someone:s3cret@there/none",
        "postgresql+psycopg2://someone:s3cret@there:port/none",
        "s3cret",
        "sqlite:////nowhere/at/all/s3cret.db?password=s3cret",
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_without_its_password(
    url: str, tmp_path: Path
) -> None:
    file = write_study(
        tmp_path / "study.yaml",
        tiny(["kd"], search={"trials": 4, "seeds": [100, 101], "together": 2}),
    )
    call = ("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    done = kdbench(*call, "--storage", url)
    assert done.code == 2, done.err
    assert "--storage: " in done.err
    if "@" in url:
        assert "s3cret" not in done.err + done.out


def test_a_storage_that_is_another_programs_is_one_line_with_exit_code_2(tmp_path: Path) -> None:
    file = write_study(
        tmp_path / "study.yaml",
        tiny(["kd"], search={"trials": 4, "seeds": [100, 101], "together": 2}),
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("create table trials (x int)")
        database.commit()
    call = ("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    done = kdbench(*call, "--storage", f"sqlite:///{tmp_path / 'other.db'}")
    assert (done.code, done.err.count("kdbench: ")) == (2, 1), done.err
    assert "--storage: sqlite:///" in done.err
