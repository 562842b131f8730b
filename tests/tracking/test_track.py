"""What MLflow holds after journals were synced to it, whatever happened in between."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from benchmark.errors import InputError
from benchmark.tracking import client as tracking_client
from benchmark.tracking import runs, tags
from benchmark.tracking import store as tracking_store
from benchmark.tracking import sync as tracking_sync
from tests.support.journalled import (
    CANARY,
    START,
    SYNC,
    Study,
    client,
    counts,
    everything,
    found,
    history,
    one,
    output,
    python,
)


def test_importing_track_imports_nothing_large():
    code = "import sys, benchmark.track; print(sorted({'mlflow', 'torch', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    assert output(python(code)) == "[]\n"


def test_a_run_holds_the_tags_params_and_files_of_its_cell(tmp_path, store):
    Study(tmp_path, rows=("kd", "kd+at")).finish()
    tracking_sync.sync(tmp_path / "small", store)
    run = one(store, "kd+at")
    assert run.info.run_name == "kd+at a-b s0"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (START, START + 9000)
    assert run.data.tags == {
        "kdbench.kind": "run", "kdbench.schema": "1", "kdbench.synced": "5", "study": "small", "method": "kd+at",
        "pair": "a-b", "teacher": "resnet18", "teacher_id": "f" * 12, "student": "test_byobnet", "dataset": "digits",
        "seed": "0", "cell": Study.cell("kd+at", 0)["id"], "git_commit": "abc",
        "environment": "commit abc, Python 3.11", "fingerprint": "python 3.11", "mlflow.runName": "kd+at a-b s0",
    }  # fmt: skip
    recipe = {"recipe.epochs": "2", "recipe.batch_size": "32", "recipe.lr": "0.05"}
    assert run.data.params == {
        "kd.temperature": "4.0",
        "at.beta": "1000.0",
        "at.p": "2",
        "ce": "1.0",
        **recipe,
    }
    assert one(store, "kd").data.params == {
        "kd.temperature": "4.0",
        "kd.weight": "0.9",
        "kd.ce": "0.1",
        **recipe,
    }
    files = {file.path for file in client(store).list_artifacts(run.info.run_id)}
    assert files == {"config.json", "environment.json", "split.json", "study.yaml"}
    assert run.info.artifact_uri.startswith(f"file://{tmp_path}/artifacts/")
    assert not (tmp_path / "mlruns").exists()


def test_a_teacher_is_a_run_of_its_own_kind(store, small):
    small.plan["teachers"][0]["pairs"] = ["a-b", "a-c"]
    small.save()
    small.train("teacher")
    tracking_sync.sync(small.folder, store)
    run = one(store, "teacher", "teacher")
    assert (run.data.tags["pair"], run.data.tags["teacher"]) == ("a-b, a-c", "resnet18")
    assert run.data.params == {"recipe.epochs": "2", "recipe.lr": "0.05"}
    assert run.data.metrics["test/acc1"] == 97.0


def test_curves_have_the_journals_times_and_end_at_the_number_of_epochs(store, small):
    small.train("kd")
    tracking_sync.sync(small.folder, store)
    assert history(store, "kd", "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert history(store, "kd", "test/acc1") == [(2, START + 9000, 92.0)]


@pytest.mark.parametrize(
    ("accuracies", "gap"),
    [
        ((50.0, 62.5, 61.0), 1.5),
        ((50.0, 61.0, 62.5), 0.0),
        ((60.0,), 0.0),
        ((None, None), None),
        ((60.0, None), None),
    ],
)
def test_a_finished_run_tells_how_far_its_last_epoch_is_below_its_best_on_validation(
    store, small, accuracies, gap
):
    small.start("kd")
    for number, value in enumerate(accuracies):
        metrics = {"loss/total": 1.0} | ({} if value is None else {"val/acc1": value})
        small.add("kd", 0, "epoch", time=START + number, epoch=number, metrics=metrics)
    tracking_sync.sync(small.folder, store)
    assert tags.BEST_MINUS_LAST not in one(store, "kd").data.metrics
    small.final("kd")
    tracking_sync.sync(small.folder, store)
    assert one(store, "kd").data.metrics.get("val/best_minus_last") == gap
    if gap is not None:
        assert history(store, "kd", "val/best_minus_last") == [(len(accuracies), START + 9000, gap)]


def test_a_number_that_is_not_finite_is_left_out(store, small):
    small.start("kd")
    metrics = {"loss/total": math.nan, "loss/kd": math.inf, "loss/ce": 1.5}
    small.add("kd", 0, "epoch", time=START + 1, epoch=0, metrics=metrics)
    tracking_sync.sync(small.folder, store)
    assert one(store, "kd").data.metrics == {"loss/ce": 1.5}


def test_cells_that_have_not_begun_make_no_run(store, small):
    small.path("student").mkdir(parents=True)
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 0, 0)
    assert found(store) == []


def test_without_a_plan_nothing_happens(tmp_path, store):
    (tmp_path / "empty").mkdir()
    assert tracking_sync.sync(tmp_path / "empty", store) == tracking_sync.Synced(None, 0, 0, 0)


def test_rows_with_the_same_settings_share_a_journal_and_have_a_run_each(store, small):
    small.plan["cells"].append({**small.cell("kd", 0), "row": "kd again"})
    small.save()
    small.train("kd")
    for expected in ((2, 0, 0), (0, 0, 2)):
        assert counts(tracking_sync.sync(small.folder, store)) == expected
    assert one(store, "kd").data.metrics == one(store, "kd again").data.metrics


def test_an_experiment_holds_one_study(tmp_path, store, small):
    tracking_sync.sync(small.folder, store)
    other = Study(tmp_path, "other")
    other.plan["experiment"] = "kd/small"
    other.save()
    with pytest.raises(InputError, match=r"holds the study 'small'.*tracking\.experiment"):
        tracking_sync.sync(other.folder, store)


def test_syncing_twice_adds_no_run_and_no_metric(store, small):
    small.finish()
    assert counts(tracking_sync.sync(small.folder, store)) == (3, 0, 0)
    before = everything(store)
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 0, 3)
    assert everything(store) == before


def test_an_unchanged_sync_writes_nothing_to_the_store(store, small):
    small.finish()
    tracking_sync.sync(small.folder, store)
    before = store.database.read_bytes()
    tracking_sync.sync(small.folder, store)
    assert store.database.read_bytes() == before


def test_syncing_after_every_record_gives_what_syncing_once_gives(tmp_path, store):
    once, often = Study(tmp_path, "once", rows=("kd",)), Study(tmp_path, "often", rows=("kd",))
    once.train("kd")
    tracking_sync.sync(once.folder, store)
    for step in (
        often.start,
        lambda row: often.epoch(row, 0),
        lambda row: often.epoch(row, 1),
        often.final,
    ):
        step("kd")
        tracking_sync.sync(often.folder, store)
    (one_sync,), (many,) = (list(everything(store, name).values()) for name in ("once", "often"))
    assert many[0:3] == one_sync[0:3]
    assert many[4:] == one_sync[4:]
    assert many[3] | {"study": "once"} == one_sync[3]


def test_killed_between_metrics_and_tag_leaves_no_point_twice(store, small, monkeypatch):
    small.start("kd")
    small.epoch("kd", 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            tracking_sync._Projection,
            "_write_labels",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            tracking_sync.sync(small.folder, store)
    assert len(history(store, "kd", "loss/total")) == 1
    small.epoch("kd", 1)
    small.final("kd")
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 1, 0)
    assert history(store, "kd", "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert len(history(store, "kd", "test/acc1")) == 1
    assert len(found(store)) == 1


@pytest.mark.parametrize("call", ["log_artifact", "log_text", "log_batch", "set_terminated"])
def test_a_store_that_fails_at_any_call_is_complete_after_the_next_sync(
    store, small, monkeypatch, call
):
    small.train("kd")

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_client.mlflow().MlflowClient, call, fail)
        with pytest.raises(tracking_sync.TrackingError, match="disk full"):
            tracking_sync.sync(small.folder, store)
    tracking_sync.sync(small.folder, store)
    run = one(store, "kd")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kdbench.synced"] == "5"
    assert len(run.data.params) == 6
    assert len(client(store).list_artifacts(run.info.run_id)) == 4


@pytest.mark.parametrize("refusals", [2, 3])
def test_a_busy_store_is_asked_three_times(store, small, monkeypatch, refusals):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    mlflow_client, calls = tracking_client.mlflow().MlflowClient, []
    write = mlflow_client.log_batch

    def busy(*arguments, **named):
        calls.append(1)
        if len(calls) <= refusals:
            raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)
        return write(*arguments, **named)

    monkeypatch.setattr(mlflow_client, "log_batch", busy)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    small.train("kd")
    if refusals < 3:
        assert counts(tracking_sync.sync(small.folder, store)) == (1, 0, 0)
    else:
        with pytest.raises(tracking_sync.TrackingError, match="database is locked"):
            tracking_sync.sync(small.folder, store)
        assert len(calls) == 3


def test_a_deleted_database_is_filled_again_once_even_by_processes_that_race(tmp_path, store):
    first, second = Study(tmp_path, "first").finish(), Study(tmp_path, "second").finish()
    tracking_sync.sync(first.folder, store)
    before = runs.runs("kd/first", store)
    store.database.unlink()
    racing = [python(SYNC, first.folder, second.folder), python(SYNC, second.folder, first.folder)]
    assert [output(process) for process in racing] == ["", ""]
    # This process still has the old file open, so it reads the new one under another name.
    store = tracking_store.open_store(
        tmp_path, f"sqlite:///{store.database.rename(tmp_path / 'new.db')}"
    )
    after = runs.runs("kd/first", store)
    pd.testing.assert_frame_equal(before.drop(columns="run_id"), after.drop(columns="run_id"))
    assert set(before["run_id"]).isdisjoint(after["run_id"])
    names = [experiment.name for experiment in client(store).search_experiments()]
    assert sorted(names) == ["Default", "kd/first", "kd/second"]
    for study in ("first", "second"):
        assert sorted(run.data.tags["method"] for run in found(store, study=study)) == [
            "kd",
            "student",
            "teacher",
        ]


def test_a_status_follows_its_journal_through_kill_failure_and_resume(store, small):
    def status():
        tracking_sync.sync(small.folder, store)
        run = one(store, "kd")
        return run.info.status, run.info.end_time, run.data.tags.get("reason", "")

    lock = FileLock(small.folder / "running.lock")
    with lock:
        small.start("kd")
        assert status() == ("RUNNING", None, "")
        small.epoch("kd", 0)
    assert status() == ("KILLED", START + 1000, "")
    with lock:
        small.start("kd", at=START + 1500, epoch=1)
        assert status()[0] == "RUNNING"
        small.add(
            "kd",
            0,
            "failed",
            time=START + 1600,
            reason="non-finite loss at epoch 1, step 7 (term kd)",
        )
        assert status() == ("FAILED", START + 1600, "non-finite loss at epoch 1, step 7 (term kd)")
        small.start("kd", at=START + 1700, epoch=1)
        assert (status()[0], status()[2]) == ("RUNNING", "")
        small.epoch("kd", 1)
        small.final("kd")
        assert status() == ("FINISHED", START + 9000, "")
    assert status() == ("FINISHED", START + 9000, "")
    assert len(found(store)) == 1
    assert [point[0] for point in history(store, "kd", "loss/total")] == [1, 2]


def test_a_lock_of_a_dead_process_is_no_sign_of_life(store, small):
    small.start("kd")
    code = "import os, sys, filelock; filelock.FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    python(code, small.folder / "running.lock").communicate()
    assert (small.folder / "running.lock").exists()
    tracking_sync.sync(small.folder, store)
    assert one(store, "kd").info.status == "KILLED"


def test_going_on_in_another_environment_is_told(store, small):
    small.start("kd")
    tracking_sync.sync(small.folder, store)
    assert "kdbench.drift" not in one(store, "kd").data.tags
    small.start("kd", at=START + 5, python="3.12", git_commit="def", device="cuda")
    tracking_sync.sync(small.folder, store)
    run = one(store, "kd")
    assert run.data.tags["kdbench.drift"] == "device, git_commit, python"
    assert run.data.tags["git_commit"] == "def"
    assert run.data.tags["fingerprint"] == "python 3.11; then device cuda, python 3.12"
    path = client(store).download_artifacts(run.info.run_id, "environment.json")
    assert json.loads(Path(path).read_text()) == {
        "python": "3.12",
        "git_commit": "def",
        "device": "cuda",
    }


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_cell_trained_again_gets_a_new_run_and_the_old_one_is_superseded(store, small, epochs):
    small.start("kd")
    small.epoch("kd", 0)
    tracking_sync.sync(small.folder, store)
    old = one(store, "kd").info.run_id
    shutil.rmtree(small.path("kd"))
    small.start("kd", at=START + 50_000)
    for number in range(epochs):
        small.epoch("kd", number, at=START + 50_000)
    assert counts(tracking_sync.sync(small.folder, store)) == (1, 0, 0)
    assert one(store, "kd", "superseded").info.run_id == old
    assert one(store, "kd").info.start_time == START + 50_000
    assert len(one(store, "kd").data.metrics) == (2 if epochs else 0)
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 0, 1)


def test_a_journal_that_has_lost_records_gets_a_new_run(store, small):
    small.train("kd")
    tracking_sync.sync(small.folder, store)
    (small.path("kd") / "journal.jsonl").unlink()
    small.start("kd")
    assert counts(tracking_sync.sync(small.folder, store)) == (1, 0, 0)
    assert one(store, "kd", "superseded").data.metrics["test/acc1"] == 92.0


def test_a_cell_that_leaves_the_plan_is_superseded_and_comes_back_with_it(store, small):
    small.finish()
    tracking_sync.sync(small.folder, store)
    run, cells = one(store, "kd").info.run_id, small.plan["cells"]
    small.plan["cells"] = cells[:1]
    small.save()
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 1, 2)
    assert one(store, "kd", "superseded").info.run_id == run
    assert "kd" not in set(runs.runs("kd/small", store)["method"])
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 0, 2)
    small.plan["cells"] = cells
    small.save()
    assert counts(tracking_sync.sync(small.folder, store)) == (0, 1, 2)
    assert one(store, "kd").info.run_id == run


def test_a_plan_that_waits_for_its_teacher_supersedes_nothing(store, small):
    small.finish()
    tracking_sync.sync(small.folder, store)
    small.plan["cells"] = []
    del small.plan["teachers"][0]["teacher_id"]
    small.save()
    tracking_sync.sync(small.folder, store)
    assert one(store, "kd").data.tags["kdbench.kind"] == "run"


def test_following_an_unreachable_server_warns_once_and_never_raises(small):
    small.start("kd")
    tracking_client.mlflow()
    warnings, looks = [], []

    def stop():
        looks.append(1)
        small.epoch("kd", len(looks))
        return len(looks) == 40

    store, began = (
        tracking_store.open_store(small.folder, f"http://me:{CANARY}@127.0.0.1:9"),
        time.monotonic(),
    )
    assert (
        tracking_sync.follow(small.folder, store, stop, warn=warnings.append, every=0.01) is False
    )
    assert time.monotonic() - began < 10
    (line,) = warnings
    assert line.startswith(
        "http://***@127.0.0.1:9: the server cannot be reached: [Errno 111] Connection refused; "
    )
    assert line.endswith("`kdbench sync small` will record these runs later")
    assert "\n" not in line


def test_following_records_during_training_and_asks_mlflow_only_after_a_change(
    store, small, monkeypatch
):
    synced, stopped, warnings = [], threading.Event(), []
    sync = tracking_sync.sync
    monkeypatch.setattr(tracking_sync, "sync", lambda *a: synced.append(counts(sync(*a))))
    small.start("kd")
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            tracking_sync.follow(
                small.folder, store, stopped.is_set, warn=warnings.append, every=0.05
            )
        )
    )
    thread.start()
    wait_for(lambda: len(synced) == 1)
    time.sleep(0.5)
    assert synced == [(1, 0, 0)]
    small.epoch("kd", 0)
    wait_for(lambda: len(synced) == 2)
    small.epoch("kd", 1)
    small.final("kd")
    stopped.set()
    thread.join(30)
    assert (results, warnings) == ([True], [])
    assert one(store, "kd").info.status == "FINISHED"


def test_following_recovers_once_the_store_answers(store, small, monkeypatch):
    small.train("kd")
    sync, tries, warnings = tracking_sync.sync, [], []

    def down_twice(*arguments):
        tries.append(1)
        if len(tries) < 3:
            raise tracking_sync.TrackingError("down")
        return sync(*arguments)

    monkeypatch.setattr(tracking_sync, "sync", down_twice)
    assert tracking_sync.follow(
        small.folder, store, lambda: len(tries) > 2, warn=warnings.append, every=0.01
    )
    assert len(warnings) == 1
    assert one(store, "kd").info.status == "FINISHED"


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
