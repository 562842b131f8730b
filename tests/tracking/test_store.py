"""Addresses of stores."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from benchmark.errors import InputError
from benchmark.redact import shown
from benchmark.tracking.store import Store, open_store
from benchmark.tracking.sync import sync
from tests.support.journalled import (
    CANARY,
    Study,
    counts,
    find_run,
    mlflow_client,
    store_from,
)

pytestmark = pytest.mark.mlflow


def test_without_an_address_the_store_is_in_the_workspace(tmp_path):
    store = open_store(tmp_path / "with space", None)
    assert store.uri == f"sqlite:///{tmp_path}/with space/mlflow.db"
    assert store.artifacts == f"file://{tmp_path}/with%20space/artifacts"
    assert store.database == tmp_path / "with space" / "mlflow.db"
    assert store.run_cache == tmp_path / "with space" / "remembered"


def test_a_relative_database_becomes_absolute_and_its_artifacts_are_beside_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    store = open_store(Path("elsewhere"), "sqlite:///sub/my.db")
    assert store.uri == f"sqlite:///{tmp_path}/sub/my.db"
    assert store.artifacts == f"file://{tmp_path}/sub/artifacts"


def test_a_server_decides_where_artifacts_are(tmp_path):
    store = open_store(tmp_path, "https://host:5000/")
    assert store == Store("https://host:5000", None)
    assert store.database is None


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "mlruns", "sqlite://", "sqlite:///", "databricks"]
)
def test_a_folder_is_refused_as_a_store_with_a_remedy(tmp_path, uri):
    with pytest.raises(InputError, match=r"sqlite:///path/to/mlflow\.db"):
        open_store(tmp_path, uri)


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://me:{CANARY}@host/db",
        f"me:{CANARY}@host:5000",
        f"http:/host?key={CANARY}",
        f"http://me:{CANARY}@127.0.0.1:port",
        f"http://me:a@{CANARY}@host",
        f"http://me:a/{CANARY}@host",
        f"http://me:1/{CANARY}@host",
        f"http://me:{CANARY} @host",
        f"http://me:\n{CANARY}@host",
        f"http:///me:{CANARY}@host",
        f"sqlite:///x.db?key={CANARY}",
    ],
)
def test_a_refused_address_is_shown_without_its_password(tmp_path, uri):
    with pytest.raises(InputError) as caught:
        open_store(tmp_path, uri)
    assert CANARY not in str(caught.value)
    assert "***" in str(caught.value)


def test_passwords_are_masked_and_paths_are_not():
    assert shown("https://me:pa@ss/wo:rd@host:5000/x") == "https://***@host:5000/x"
    assert shown("http://host/x?token=abc&page=2") == "http://host/x?token=***&page=***"
    assert shown("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"
    assert CANARY not in repr(Store(f"http://me:{CANARY}@host", None))


ODD = ["a?mode=ro&b", "a#b", "a%b", "a%20b", "a&b=c", "a b+é", "[x]*"]
"""Names of folders with characters that have a meaning in addresses."""


@pytest.mark.parametrize("name", ODD)
def test_the_address_of_a_store_leads_back_to_its_file_whatever_the_folder_is_called(
    tmp_path, name
):
    database = tmp_path / name / "mlflow.db"
    store = open_store(tmp_path / name, None)
    assert store.database == database
    again = open_store(tmp_path, store.uri)
    assert again == store
    assert again.database == database
    assert make_url(store.uri).database == str(database)


@pytest.mark.parametrize("name", ["a?mode=ro&b", "a#b", "a%20b"])
def test_a_workspace_with_an_odd_name_is_synced_and_nothing_is_written_beside_it(tmp_path, name):
    study = Study(tmp_path / name, rows=("kd",)).finish()
    store = open_store(tmp_path / name, None)
    assert counts(sync(study.folder, store)) == (2, 0, 0)
    assert counts(sync(study.folder, open_store(tmp_path, store.uri))) == (0, 0, 2)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with tempfile.TemporaryDirectory() as folder:
        run = find_run(store, "kd")
        file = mlflow_client(store).download_artifacts(run.info.run_id, "config.json", folder)
        assert Path(file).stat().st_size > 0


@pytest.fixture
def recorded(tmp_path, template):
    """The database of a workspace with a finished study."""
    workspace = tmp_path / "runs"
    workspace.mkdir()
    store = store_from(template, workspace)
    sync(Study(workspace, rows=("kd",)).finish().folder, store)
    return store.database


PAGE = 4096


def zeros_after(end):
    return lambda content: content[:end] + bytes(len(content) - end)


def zero_page(number):
    return lambda content: content[: number * PAGE] + bytes(PAGE) + content[(number + 1) * PAGE :]


@pytest.mark.parametrize(
    "damage",
    [
        zeros_after(0),
        zeros_after(16),
        zeros_after(100),
        zeros_after(PAGE),
        lambda content: content[: len(content) // 2],
        lambda content: content[:PAGE],
        *(zero_page(number) for number in (1, 5, 20, 40)),
    ],
)
def test_a_damaged_database_is_named_with_a_remedy_before_anything_is_written(recorded, damage):
    content = damage(recorded.read_bytes())
    recorded.write_bytes(content)
    message = rf"{re.escape(str(recorded))}: .*; restore it, or move it away and sync the studies"
    with pytest.raises(InputError, match=message) as caught:
        open_store(recorded.parent, None)
    assert "upgrade" not in str(caught.value)
    assert "SQL:" not in str(caught.value)
    assert recorded.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("create table photos (x int)")
    with pytest.raises(InputError, match="a database of another program"):
        open_store(tmp_path, None)


def test_a_file_that_is_no_database_is_reported_before_mlflow_opens_it(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, whatever its name says")
    message = r"mlflow\.db: not an SQLite database; restore it, or move it away"
    with pytest.raises(InputError, match=message):
        open_store(tmp_path, None)
