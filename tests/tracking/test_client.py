"""Stores that are busy, do not answer, or cannot be created."""

from __future__ import annotations

import time

import pytest

from benchmark.errors import TrackingError
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.runs import runs
from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync
from tests.support.journalled import CANARY, Study, counts, start_python

pytestmark = pytest.mark.mlflow


class Busy:
    """A call of MLflow that refuses some times and then works."""

    def __init__(self, call, refusals):
        self.call = call
        self.refusals = refusals
        self.attempts = 0

    def __call__(self, *arguments, **named):
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

        self.attempts += 1
        if self.attempts <= self.refusals:
            raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)
        return self.call(*arguments, **named)


@pytest.fixture
def slept(monkeypatch):
    """Seconds of each sleep, which takes no time."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def make_busy(monkeypatch, refusals):
    client = import_mlflow().MlflowClient
    busy = Busy(client.log_batch, refusals)
    monkeypatch.setattr(client, "log_batch", lambda *a, **k: busy(*a, **k))
    return busy


def test_a_store_that_is_busy_twice_is_asked_a_third_time(store, small, monkeypatch, slept):
    make_busy(monkeypatch, refusals=2)
    small.train("kd")
    assert counts(sync(small.folder, store)) == (1, 0, 0)
    assert slept == [1, 2]


def test_a_store_that_is_busy_three_times_is_an_error(store, small, monkeypatch, slept):
    busy = make_busy(monkeypatch, refusals=3)
    small.train("kd")
    with pytest.raises(TrackingError, match="database is locked"):
        sync(small.folder, store)
    assert busy.attempts == 3
    assert slept == [1, 2]


@pytest.mark.parametrize("host", ["127.0.0.1:9", "nohost.invalid"])
def test_an_unreachable_server_is_reported_quickly_in_one_line_without_its_password(
    small, host, capfd, caplog
):
    small.train("kd")
    import_mlflow()
    store = open_store(small.folder, f"http://me:{CANARY}@{host}/base?token={CANARY}")

    started = time.monotonic()
    for call in (lambda: sync(small.folder, store), lambda: runs("x", store)):
        with pytest.raises(TrackingError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"http://***@{host}/base?token=***: ")
        assert "\n" not in message
        assert CANARY not in message + repr(caught.value)
    assert time.monotonic() - started < 10
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text


def test_a_folder_that_cannot_be_created_is_reported(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="cannot be written"):
        sync(small.folder, open_store(tmp_path / "file", None))


DIE_WHILE_TABLES_ARE_CREATED = """
import os, sys
from pathlib import Path

from sqlalchemy import Engine, event

from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync

statements = 0


@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global statements
    statements += 1
    if statements == 40:
        os.kill(os.getpid(), 9)


folder = Path(sys.argv[1])
sync(folder, open_store(folder, sys.argv[2]))
"""


def test_a_store_whose_creation_was_killed_halfway_is_created_again(tmp_path):
    study = Study(tmp_path, rows=("student",)).finish()
    store = open_store(tmp_path, None)
    process = start_python(DIE_WHILE_TABLES_ARE_CREATED, study.folder, store.uri)
    process.communicate()
    assert process.returncode == -9
    assert not store.database.exists()
    assert sync(study.folder, store).created == 2
