"""Runs that are kept in a file: the same table as from MLflow, whatever was done to MLflow since."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from benchmark.tracking import cache, runs, sync
from benchmark.tracking import client as tracking_client
from tests.support.journalled import Study, client, one


@pytest.fixture(autouse=True)
def every_study_is_large(monkeypatch):
    monkeypatch.setattr(cache, "LEAST", 1)


@pytest.fixture
def asked(monkeypatch):
    """The conditions under which MLflow was asked for runs."""
    conditions = []
    ask = tracking_client.Client.search

    def counted(self, experiment_id, condition):
        conditions.append(condition)
        return ask(self, experiment_id, condition)

    monkeypatch.setattr(tracking_client.Client, "search", counted)
    return conditions


@pytest.fixture
def finished(small, store):
    small.finish()
    sync.sync(small.folder, store)
    return small


def table(store):
    return runs.runs("kd/small", store)


def asked_anew(store, asked):
    """The table, and whether MLflow was asked for its runs."""
    asked.clear()
    found = table(store)
    return found, bool(asked)


def test_a_table_that_was_read_once_is_not_asked_for_again_and_is_the_same(finished, store, asked):
    first, anew = asked_anew(store, asked)
    assert anew
    assert len(first) == 3
    second, anew = asked_anew(store, asked)
    assert not anew
    pd.testing.assert_frame_equal(first, second)


def test_a_sync_that_writes_nothing_leaves_what_is_kept(finished, store, asked):
    table(store)
    assert sync.sync(finished.folder, store).unchanged == 3
    assert not asked_anew(store, asked)[1]


def test_a_sync_that_writes_is_seen(small, store, asked):
    small.train("kd")
    sync.sync(small.folder, store)
    assert len(table(store)) == 1
    small.train("student")
    sync.sync(small.folder, store)
    found, anew = asked_anew(store, asked)
    assert anew
    assert set(found["method"]) == {"kd", "student"}


def test_a_run_that_is_superseded_leaves_the_table(finished, store):
    assert "kd" in set(table(store)["method"])
    finished.plan["cells"] = [cell for cell in finished.plan["cells"] if cell["row"] != "kd"]
    finished.save()
    sync.sync(finished.folder, store)
    assert "kd" not in set(table(store)["method"])


def test_a_run_that_somebody_deletes_leaves_the_table_and_comes_back_when_it_is_restored(
    finished, store
):
    before, run = table(store), one(store, "kd").info.run_id
    client(store).delete_run(run)
    assert run not in set(table(store)["run_id"])
    assert run not in set(table(store)["run_id"])
    client(store).restore_run(run)
    pd.testing.assert_frame_equal(table(store), before)


def test_while_a_sync_writes_and_after_it_was_killed_nothing_is_kept(
    small, store, asked, monkeypatch
):
    small.train("kd")
    sync.sync(small.folder, store)
    small.train("student")
    seen = []

    def die(*arguments, **named):
        seen.append(asked_anew(store, asked)[1] and asked_anew(store, asked)[1])
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_client.mlflow().MlflowClient, "log_batch", die)
        with pytest.raises(sync.TrackingError, match="power cut"):
            sync.sync(small.folder, store)
    assert seen == [True]
    assert asked_anew(store, asked)[1]
    sync.sync(small.folder, store)
    asked_anew(store, asked)
    found, anew = asked_anew(store, asked)
    assert not anew
    assert found.query("method == 'student'")["status"].tolist() == ["FINISHED"]


def test_a_sync_while_the_runs_are_read_is_not_lost(small, store, asked, monkeypatch):
    small.train("kd")
    sync.sync(small.folder, store)
    small.train("student")
    line = runs._line

    def slow(run, kind):
        monkeypatch.setattr(runs, "_line", line)
        sync.sync(small.folder, store)
        return line(run, kind)

    monkeypatch.setattr(runs, "_line", slow)
    table(store)
    assert len(table(store)) == 2


def test_a_store_that_was_filled_anew_is_read_anew(finished, store, template):
    before = table(store)
    store.database.write_bytes(template.read_bytes())
    sync.sync(finished.folder, store)
    after = table(store)
    assert set(after["run_id"]).isdisjoint(before["run_id"])
    pd.testing.assert_frame_equal(after.drop(columns="run_id"), before.drop(columns="run_id"))


@pytest.mark.parametrize("content", ["", "{", '{"lines": []}', "[]", "\x00"])
def test_a_damaged_file_is_read_past_and_written_again(finished, store, asked, content):
    before = table(store)
    (file,) = store.memory.iterdir()
    whole = file.read_bytes()
    file.write_text(content)
    found, anew = asked_anew(store, asked)
    assert anew
    pd.testing.assert_frame_equal(found, before)
    assert file.read_bytes() == whole
    assert os.listdir(store.memory) == [file.name]


def test_a_workspace_that_cannot_be_written_still_gives_the_table(finished, store):
    store.memory.write_text("no folder")
    assert len(table(store)) == 3


def test_the_studies_of_a_store_are_kept_apart(finished, store, tmp_path):
    other = Study(tmp_path, "other", rows=("student",))
    other.finish()
    sync.sync(other.folder, store)
    for _ in range(2):
        assert len(table(store)) == 3
        assert len(runs.runs("kd/other", store)) == 2


def test_small_studies_are_always_read_from_mlflow(finished, store, monkeypatch):
    monkeypatch.setattr(cache, "LEAST", 4)
    table(store)
    assert not store.memory.exists()
