"""Runs that are kept in a file: the same table as from MLflow, whatever happened there since."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.errors import TrackingError
from benchmark.tracking import cache, client
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.runs import runs
from benchmark.tracking.sync import sync
from tests.support.journalled import Study, find_run, mlflow_client

pytestmark = pytest.mark.mlflow


@pytest.fixture(autouse=True)
def _every_study_is_large(monkeypatch):
    monkeypatch.setattr(cache, "MINIMUM_RUNS", 1)


@pytest.fixture
def searches(monkeypatch):
    """The conditions of all searches for runs."""
    conditions = []
    search = client.Client.search

    def counted(self, experiment_id, condition):
        conditions.append(condition)
        return search(self, experiment_id, condition)

    monkeypatch.setattr(client.Client, "search", counted)
    return conditions


@pytest.fixture
def finished(small, store):
    small.finish()
    sync(small.folder, store)
    return small


def table(store):
    return runs("kd/small", store)


def read_table(store, searches):
    """The table, and whether MLflow was searched for its runs."""
    searches.clear()
    rows = table(store)
    return rows, bool(searches)


def test_a_table_that_was_read_once_is_not_read_again_and_is_the_same(finished, store, searches):
    first, searched = read_table(store, searches)
    assert searched
    assert len(first) == 3

    second, searched = read_table(store, searches)
    assert not searched
    pd.testing.assert_frame_equal(first, second)


def test_a_sync_that_writes_nothing_keeps_the_file_valid(finished, store, searches):
    table(store)
    assert sync(finished.folder, store).unchanged == 3
    _, searched = read_table(store, searches)
    assert not searched


def test_a_sync_that_writes_is_noticed(small, store, searches):
    small.train("kd")
    sync(small.folder, store)
    assert len(table(store)) == 1

    small.train("student")
    sync(small.folder, store)
    rows, searched = read_table(store, searches)
    assert searched
    assert set(rows["method"]) == {"kd", "student"}


def test_a_run_that_is_superseded_leaves_the_table(finished, store):
    assert "kd" in set(table(store)["method"])
    finished.change_plan(cells=tuple(c for c in finished.plan.cells if c.row != "kd"))
    sync(finished.folder, store)
    assert "kd" not in set(table(store)["method"])


def test_a_run_that_is_deleted_leaves_the_table_and_returns_when_it_is_restored(finished, store):
    before = table(store)
    run_id = find_run(store, "kd").info.run_id

    mlflow_client(store).delete_run(run_id)
    for _ in range(2):
        assert run_id not in set(table(store)["run_id"])

    mlflow_client(store).restore_run(run_id)
    pd.testing.assert_frame_equal(table(store), before)


def test_while_a_sync_writes_and_after_it_was_killed_nothing_is_kept(
    small, store, searches, monkeypatch
):
    small.train("kd")
    sync(small.folder, store)
    small.train("student")
    searched_meanwhile = []

    def die(*_, **__):
        for _ in range(2):
            _, searched = read_table(store, searches)
            searched_meanwhile.append(searched)
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, "log_batch", die)
        with pytest.raises(TrackingError, match="power cut"):
            sync(small.folder, store)
    assert searched_meanwhile == [True, True]
    _, searched = read_table(store, searches)
    assert searched

    sync(small.folder, store)
    table(store)
    rows, searched = read_table(store, searches)
    assert not searched
    assert rows.query("method == 'student'")["status"].tolist() == ["FINISHED"]


def test_a_sync_while_the_runs_are_read_is_not_lost(small, store, monkeypatch):
    small.train("kd")
    sync(small.folder, store)
    small.train("student")
    row = tracking_runs._row

    def sync_first(run, kind):
        monkeypatch.setattr(tracking_runs, "_row", row)
        sync(small.folder, store)
        return row(run, kind)

    monkeypatch.setattr(tracking_runs, "_row", sync_first)
    table(store)
    assert len(table(store)) == 2


def test_a_store_that_was_filled_anew_is_read_anew(finished, store, template):
    before = table(store)
    store.database.write_bytes(template.read_bytes())
    sync(finished.folder, store)

    after = table(store)
    assert set(after["run_id"]).isdisjoint(before["run_id"])
    pd.testing.assert_frame_equal(after.drop(columns="run_id"), before.drop(columns="run_id"))


@pytest.mark.parametrize("content", ["", "{", '{"lines": []}', "[]", "\x00"])
def test_a_damaged_file_is_ignored_and_written_again(finished, store, searches, content):
    before = table(store)
    (file,) = store.run_cache.iterdir()
    intact = file.read_bytes()

    file.write_text(content)
    rows, searched = read_table(store, searches)
    assert searched
    pd.testing.assert_frame_equal(rows, before)
    assert file.read_bytes() == intact
    assert list(store.run_cache.iterdir()) == [file]


def test_a_workspace_that_cannot_be_written_still_gives_the_table(finished, store):
    store.run_cache.write_text("no folder")
    assert len(table(store)) == 3


def test_the_studies_of_a_store_are_kept_apart(finished, store, tmp_path):
    other = Study(tmp_path, "other", rows=("student",)).finish()
    sync(other.folder, store)
    for _ in range(2):
        assert len(table(store)) == 3
        assert len(runs("kd/other", store)) == 2


def test_small_studies_are_always_read_from_mlflow(finished, store, monkeypatch):
    monkeypatch.setattr(cache, "MINIMUM_RUNS", 4)
    table(store)
    assert not store.run_cache.exists()
