"""What MLflow holds after journals were synced to it, whatever happened in between."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from benchmark.errors import InputError, TrackingError
from benchmark.tracking.cell_run import CellRun
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.projection import Synced
from benchmark.tracking.runs import runs
from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync
from benchmark.tracking.tags import MODEL, SYNCED
from tests.support.journalled import (
    START,
    SYNC,
    Study,
    counts,
    file_names,
    find_run,
    find_runs,
    history,
    mlflow_client,
    output_of,
    snapshot,
    start_python,
)

pytestmark = pytest.mark.mlflow


def test_importing_sync_imports_no_large_package():
    code = """
import sys
import benchmark.tracking.sync

print(sorted({'mlflow', 'torch', 'pandas', 'sqlalchemy'} & set(sys.modules)))
"""
    assert output_of(start_python(code)) == "[]\n"


def test_without_a_plan_nothing_happens(tmp_path, store):
    (tmp_path / "empty").mkdir()
    assert sync(tmp_path / "empty", store) == Synced(None, 0, 0, 0)


def test_an_experiment_holds_one_study(tmp_path, store, small):
    sync(small.folder, store)
    other = Study(tmp_path, "other")
    other.change_plan(experiment="kd/small")
    with pytest.raises(InputError, match=r"belongs to the study 'small'.*tracking\.experiment"):
        sync(other.folder, store)


def test_syncing_twice_adds_no_run_and_no_metric(store, small):
    small.finish()
    assert counts(sync(small.folder, store)) == (3, 0, 0)
    before = snapshot(store)
    assert counts(sync(small.folder, store)) == (0, 0, 3)
    assert snapshot(store) == before


def test_an_unchanged_sync_writes_nothing_to_the_store(store, small):
    small.finish()
    sync(small.folder, store)
    before = store.database.read_bytes()
    sync(small.folder, store)
    assert store.database.read_bytes() == before


def test_syncing_after_every_record_gives_what_syncing_once_gives(tmp_path, store):
    once = Study(tmp_path, "once", rows=("kd",))
    once.train("kd")
    sync(once.folder, store)

    often = Study(tmp_path, "often", rows=("kd",))
    often.start("kd")
    sync(often.folder, store)
    for epoch in range(2):
        often.epoch("kd", epoch)
        sync(often.folder, store)
    often.final("kd")
    sync(often.folder, store)

    (expected,) = snapshot(store, "once").values()
    (run,) = snapshot(store, "often").values()
    assert run["tags"].pop(MODEL)
    assert expected["tags"].pop(MODEL)
    assert run.pop("tags") | {"study": "once"} == expected.pop("tags")
    assert run == expected


def test_a_sync_that_is_killed_between_metrics_and_tags_leaves_no_point_twice(
    store, small, monkeypatch
):
    small.start("kd")
    small.epoch("kd", 0)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CellRun, "_write_labels", die)
        with pytest.raises(KeyboardInterrupt):
            sync(small.folder, store)
    assert len(history(store, find_run(store, "kd"), "loss/total")) == 1

    small.epoch("kd", 1)
    small.final("kd")
    assert counts(sync(small.folder, store)) == (0, 1, 0)

    (run,) = find_runs(store)
    assert history(store, run, "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert len(history(store, run, "test/acc1")) == 1


@pytest.mark.parametrize("call", ["log_artifact", "log_text", "log_batch", "set_terminated"])
def test_a_store_that_fails_at_any_call_is_complete_after_the_next_sync(
    store, small, monkeypatch, call
):
    small.train("kd")

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, call, fail)
        with pytest.raises(TrackingError, match="disk full"):
            sync(small.folder, store)
    sync(small.folder, store)

    run = find_run(store, "kd")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kdbench.synced"] == "5"
    assert len(run.data.params) == 6
    assert len(file_names(store, run)) == 4


@pytest.mark.parametrize("edited", ["many", "", "-3", "9" * 5000])
def test_a_run_whose_count_of_records_was_edited_is_written_again(store, small, edited):
    small.train("kd")
    sync(small.folder, store)
    before = snapshot(store)
    (run_id,) = before
    mlflow_client(store).set_tag(run_id, SYNCED, edited)

    assert counts(sync(small.folder, store)) == (0, 1, 0)
    assert snapshot(store) == before
    assert counts(sync(small.folder, store)) == (0, 0, 1)


def test_a_deleted_database_is_filled_again_once_even_by_processes_that_race(tmp_path, store):
    first = Study(tmp_path, "first").finish()
    second = Study(tmp_path, "second").finish()
    sync(first.folder, store)
    before = runs("kd/first", store)
    store.database.unlink()

    racing = [
        start_python(SYNC, first.folder, second.folder),
        start_python(SYNC, second.folder, first.folder),
    ]
    assert [output_of(process) for process in racing] == ["", ""]

    # This process still has the old file open, so it reads the new one under another name.
    renamed = store.database.rename(tmp_path / "new.db")
    store = open_store(tmp_path, f"sqlite:///{renamed}")
    after = runs("kd/first", store)
    pd.testing.assert_frame_equal(before.drop(columns="run_id"), after.drop(columns="run_id"))
    assert set(before["run_id"]).isdisjoint(after["run_id"])

    names = [experiment.name for experiment in mlflow_client(store).search_experiments()]
    assert sorted(names) == ["Default", "kd/first", "kd/second"]
    for study in ("first", "second"):
        methods = [run.data.tags["method"] for run in find_runs(store, study=study)]
        assert sorted(methods) == ["kd", "student", "teacher"]


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_cell_that_is_trained_again_gets_a_new_run_and_the_old_one_is_superseded(
    store, small, epochs
):
    small.start("kd")
    small.epoch("kd", 0)
    sync(small.folder, store)
    old = find_run(store, "kd").info.run_id

    shutil.rmtree(small.cell_files("kd").path)
    small.start("kd", at=START + 50_000)
    for number in range(epochs):
        small.epoch("kd", number, at=START + 50_000)

    assert counts(sync(small.folder, store)) == (1, 0, 0)
    assert find_run(store, "kd", "superseded").info.run_id == old
    new = find_run(store, "kd")
    assert new.info.start_time == START + 50_000
    assert len(new.data.metrics) == (2 if epochs else 0)
    assert counts(sync(small.folder, store)) == (0, 0, 1)


def test_a_journal_that_has_lost_records_gets_a_new_run(store, small):
    small.train("kd")
    sync(small.folder, store)
    small.cell_files("kd").journal.unlink()
    small.start("kd")
    assert counts(sync(small.folder, store)) == (1, 0, 0)
    assert find_run(store, "kd", "superseded").data.metrics["test/acc1"] == 92.0


def test_a_cell_that_leaves_the_plan_is_superseded_and_returns_with_it(store, small):
    small.finish()
    sync(small.folder, store)
    run_id = find_run(store, "kd").info.run_id
    cells = small.plan.cells

    small.change_plan(cells=cells[:1])
    assert counts(sync(small.folder, store)) == (0, 1, 2)
    assert find_run(store, "kd", "superseded").info.run_id == run_id
    assert "kd" not in set(runs("kd/small", store)["method"])
    assert counts(sync(small.folder, store)) == (0, 0, 2)

    small.change_plan(cells=cells)
    assert counts(sync(small.folder, store)) == (0, 1, 2)
    assert find_run(store, "kd").info.run_id == run_id


def test_a_plan_that_waits_for_its_teacher_supersedes_nothing(store, small):
    small.finish()
    sync(small.folder, store)
    small.change_plan(cells=())
    small.change_teacher(teacher_id="")
    sync(small.folder, store)
    assert find_run(store, "kd").data.tags["kdbench.kind"] == "run"
