"""Optuna's storage: PostgreSQL or a file; what cannot be used is one line without its password."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.search import database
from tests.search.helpers import LOCAL, SEARCH, Whole, search_folder, searched, searching, trials
from tests.support.commandline import kdbench
from tests.support.studies import tiny, write_study

pytestmark = pytest.mark.trains


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
    file = write_study(tmp_path / "study.yaml", tiny(["kd"], search=SEARCH))
    call = ("--workspace", tmp_path / "runs", "tune", file, *LOCAL)
    done = kdbench(*call, "--storage", url)
    assert done.code == 2, done.err
    assert "--storage: " in done.err
    if "@" in url:
        assert "s3cret" not in done.err + done.out


def test_a_storage_that_is_another_programs_is_one_line_with_exit_code_2(tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", tiny(["kd"], search=SEARCH))
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("create table trials (x int)")
        database.commit()
    call = ("--workspace", tmp_path / "runs", "tune", file, *LOCAL)
    done = kdbench(*call, "--storage", f"sqlite:///{tmp_path / 'other.db'}")
    assert (done.code, done.err.count("kdbench: ")) == (2, 1), done.err
    assert "--storage: sqlite:///" in done.err


def test_a_damaged_database_of_the_search_itself_is_made_again_after_the_advice_is_followed(
    whole: Whole, workspace: Path
) -> None:
    shutil.copytree(whole[0], workspace, dirs_exist_ok=True)
    path = search_folder(workspace) / "optuna.db"
    cells = sorted(search_folder(workspace).rglob("journal.jsonl"))
    before = [cell.read_bytes() for cell in cells]
    content = path.read_bytes()

    for damaged in (b"no database " * 99, bytes(5000), content[:-5000], content[:9000] * 4):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as error:
            searching(workspace, searched())
        message = str(error.value)
        assert message.startswith(f"{path}: cannot be used (")
        assert "; delete it and run the same command again; " in message
        assert "--storage" not in message
        assert "\n" not in message

    path.unlink()
    assert searching(workspace, searched()).best == whole[1].best
    assert trials(workspace) == trials(whole[0])
    assert [cell.read_bytes() for cell in cells] == before  # no trial was trained again


def test_a_locked_database_of_the_search_itself_names_the_other_program(
    whole: Whole, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole[0], workspace, dirs_exist_ok=True)
    path = search_folder(workspace) / "optuna.db"
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError) as error:
            searching(workspace, searched())
    assert str(error.value) == (
        f"{path}: cannot be used (database is locked); another program is using it; close that "
        "program, such as a dashboard, and run the same command again"
    )


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the test."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL server is installed")
    root = os.getuid() == 0
    if root and subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")

    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    make_folder = [*as_user, "mktemp", "-d"]
    process = subprocess.run(make_folder, capture_output=True, text=True, check=True, cwd="/")
    folder = process.stdout.strip()
    data = f"{folder}/data"

    def server(tool: str, *arguments: str) -> None:
        command = [*as_user, str(programs[-1] / tool), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    try:
        server("initdb", "-D", data, "-U", "kd", "--auth=trust", "--no-sync")
        port = 20000 + random.SystemRandom().randrange(20000)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
        server("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://kd:s3cret@127.0.0.1:{port}/postgres"
        finally:
            server("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        subprocess.run([*as_user, "rm", "-rf", folder], check=False)


def test_postgresql_gives_the_same_search_as_a_file(
    postgres: str, whole: Whole, workspace: Path
) -> None:
    assert searching(workspace, searched(), storage=postgres).best == whole[1].best
    assert trials(workspace, postgres) == trials(whole[0])
    assert not (search_folder(workspace) / "optuna.db").exists()
