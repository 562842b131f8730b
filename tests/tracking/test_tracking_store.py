"""Addresses of stores, and stores that do not answer or cannot be made."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import redact
from benchmark.errors import InputError
from benchmark.tracking import client, runs, sync
from benchmark.tracking import store as tracking_store
from tests.support.journalled import CANARY, Study


def test_without_an_address_the_store_lies_in_the_workspace(tmp_path):
    made = tracking_store.open_store(tmp_path / "with space", None)
    assert made.uri == f"sqlite:///{tmp_path}/with space/mlflow.db"
    assert made.artifacts == f"file://{tmp_path}/with%20space/artifacts"
    assert made.database == tmp_path / "with space" / "mlflow.db"


def test_a_relative_database_is_made_absolute_and_its_artifacts_lie_beside_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    made = tracking_store.open_store(Path("elsewhere"), "sqlite:///sub/my.db")
    assert (made.uri, made.artifacts) == (
        f"sqlite:///{tmp_path}/sub/my.db",
        f"file://{tmp_path}/sub/artifacts",
    )


def test_a_server_decides_where_artifacts_lie(tmp_path):
    assert tracking_store.open_store(tmp_path, "https://host:5000/") == tracking_store.Store(
        "https://host:5000", None
    )


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "mlruns", "sqlite://", "sqlite:///", "databricks"]
)
def test_a_folder_is_refused_as_a_store_with_a_remedy(tmp_path, uri):
    with pytest.raises(InputError, match=r"sqlite:///path/to/mlflow\.db"):
        tracking_store.open_store(tmp_path, uri)


@pytest.mark.parametrize(
    "uri",
    [f"postgresql://me:{CANARY}@host/db", f"me:{CANARY}@host:5000", f"http:/host?key={CANARY}"],
)
def test_a_refused_address_is_named_without_its_password(tmp_path, uri):
    with pytest.raises(InputError) as caught:
        tracking_store.open_store(tmp_path, uri)
    assert CANARY not in str(caught.value)
    assert "***" in str(caught.value)


def test_passwords_are_masked_and_paths_are_not():
    assert redact.shown("https://me:pa@ss/wo:rd@host:5000/x") == "https://***@host:5000/x"
    assert redact.shown("http://host/x?token=abc&page=2") == "http://host/x?token=***&page=***"
    assert redact.shown("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"
    assert CANARY not in repr(tracking_store.Store(f"http://me:{CANARY}@host", None))


@pytest.mark.parametrize("host", ["127.0.0.1:9", "127.0.0.1:port", "nohost.invalid"])
def test_an_unreachable_server_is_told_quickly_in_one_line_without_its_password(
    small, host, capfd, caplog
):
    small.train("kd")
    client.mlflow()
    address = f"http://me:{CANARY}@{host}/base?token={CANARY}"
    store, began = tracking_store.open_store(small.folder, address), time.monotonic()
    for ask in (lambda: sync.sync(small.folder, store), lambda: runs.runs("x", store)):
        with pytest.raises(sync.TrackingError) as caught:
            ask()
        assert str(caught.value).startswith(f"http://***@{host}/base?token=***: ")
        assert "\n" not in str(caught.value)
        assert CANARY not in str(caught.value) + repr(caught.value)
    assert time.monotonic() - began < 10
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text


def test_a_file_that_is_no_database_is_told_before_mlflow_sees_it(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, whatever its name says")
    with pytest.raises(
        InputError, match=r"mlflow\.db: not a database of SQLite's; restore it, or move it away"
    ):
        tracking_store.open_store(tmp_path, None)


def test_a_folder_that_cannot_be_made_is_told(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(sync.TrackingError, match="cannot be written"):
        sync.sync(small.folder, tracking_store.open_store(tmp_path / "file", None))


def test_a_store_whose_making_was_killed_halfway_is_made_again(tmp_path, store):
    Study(tmp_path, rows=("student",), seeds=(0,)).finish()
    die = (
        "import os, sys; from pathlib import Path; from sqlalchemy import Engine, event\n"
        "from benchmark import track, tracking_store\n"
        "left = [40]\n"
        "@event.listens_for(Engine, 'before_cursor_execute')\n"
        "def count(*_):\n"
        "    left[0] -= 1\n"
        "    left[0] or os.kill(os.getpid(), 9)\n"
        "folder = Path(sys.argv[1])\n"
        "track.sync(folder, tracking_store.store(folder, sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", die, str(tmp_path / "small"), store.uri]
    assert subprocess.run(arguments, cwd=Path(sync.__file__).parents[1]).returncode == -9
    assert sync.sync(tmp_path / "small", store).created == 2
