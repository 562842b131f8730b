"""What a run in MLflow holds of a cell or a teacher."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from filelock import FileLock

from benchmark.records.layout import Workspace
from benchmark.records.workspace_id import identify
from benchmark.tracking.sync import sync
from benchmark.tracking.tags import BEST_MINUS_LAST
from tests.support.journalled import (
    START,
    Study,
    counts,
    file_names,
    find_models,
    find_run,
    find_runs,
    history,
    mlflow_client,
    start_python,
)

pytestmark = pytest.mark.mlflow


def test_a_run_holds_the_tags_params_and_files_of_its_cell(tmp_path, store):
    Study(tmp_path, rows=("kd", "kd+at")).finish()
    sync(tmp_path / "small", store)

    run = find_run(store, "kd+at")
    assert run.info.run_name == "kd+at a-b s0"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (START, START + 9000)
    (model,) = (model for model in find_models(store).values() if "kd+at" in model.name)
    assert run.data.tags.pop("kdbench.model").split()[0] == model.model_id
    assert run.data.tags == {
        "kdbench.workspace": identify(Workspace(tmp_path)),
        "kdbench.kind": "run",
        "kdbench.schema": "1",
        "kdbench.synced": "5",
        "study": "small",
        "method": "kd+at",
        "pair": "a-b",
        "teacher": "resnet18",
        "teacher_id": "f" * 12,
        "student": "test_byobnet",
        "dataset": "digits",
        "seed": "0",
        "cell": Study.cell("kd+at").id,
        "row": "kd+at",
        "budget": "published",
        "top1": "93.00",
        "git_commit": "abc",
        "environment": "commit abc, Python 3.11",
        "fingerprint": "python 3.11",
        "mlflow.runName": "kd+at a-b s0",
    }
    assert file_names(store, run) == {
        "config.json",
        "environment.json",
        "split.json",
        "study.yaml",
    }
    assert run.info.artifact_uri.startswith(f"file://{tmp_path}/artifacts/")
    assert not (tmp_path / "mlruns").exists()


def test_params_are_named_by_method_and_setting(tmp_path, store):
    Study(tmp_path, rows=("kd", "kd+at")).finish()
    sync(tmp_path / "small", store)

    recipe = {"recipe.epochs": "2", "recipe.batch_size": "32", "recipe.lr": "0.05"}
    assert find_run(store, "kd+at").data.params == {
        "kd.temperature": "4.0",
        "at.beta": "1000.0",
        "at.p": "2",
        "ce": "1.0",
        **recipe,
    }
    assert find_run(store, "kd").data.params == {
        "kd.temperature": "4.0",
        "kd.weight": "0.9",
        "kd.ce": "0.1",
        **recipe,
    }


def test_names_of_wrapped_methods_become_names_that_mlflow_accepts(store, small):
    cell = small.cell("kd")
    wrapped = dataclasses.replace(
        cell, row="ls(dkd)", method="ls(dkd)", settings={"alpha": 1.0}, recipe={}
    )
    small.change_plan(cells=(wrapped,))
    small.start("kd")
    metrics = {"loss/ls(dkd)/target": 1.0}
    small.add("kd", 0, "epoch", time=START + 1, epoch=0, metrics=metrics)

    sync(small.folder, store)

    (run,) = find_runs(store)
    assert run.data.params == {"ls.dkd.alpha": "1.0"}
    assert run.data.metrics == {"loss/ls.dkd/target": 1.0}


def test_a_teacher_is_a_run_of_its_own_kind(store, small):
    small.change_teacher(pairs=("a-b", "a-c"))
    small.train("teacher")
    sync(small.folder, store)

    run = find_run(store, "teacher", "teacher")
    assert (run.data.tags["pair"], run.data.tags["teacher"]) == ("a-b, a-c", "resnet18")
    assert run.data.params == {"recipe.epochs": "2", "recipe.lr": "0.05"}
    assert run.data.metrics["test/acc1"] == 97.0


def test_curves_have_the_times_of_the_journal_and_results_the_number_of_epochs(store, small):
    small.train("kd")
    sync(small.folder, store)

    run = find_run(store, "kd")
    assert history(store, run, "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert history(store, run, "test/acc1") == [(2, START + 9000, 92.0)]


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
def test_a_finished_run_shows_how_far_its_last_epoch_is_below_its_best_in_validation(
    store, small, accuracies, gap
):
    small.start("kd")
    for number, accuracy in enumerate(accuracies):
        metrics = {"loss/total": 1.0}
        if accuracy is not None:
            metrics["val/acc1"] = accuracy
        small.add("kd", 0, "epoch", time=START + number, epoch=number, metrics=metrics)
    sync(small.folder, store)
    assert BEST_MINUS_LAST not in find_run(store, "kd").data.metrics

    small.final("kd")
    sync(small.folder, store)

    run = find_run(store, "kd")
    assert run.data.metrics.get("val/best_minus_last") == gap
    points = history(store, run, "val/best_minus_last") if gap is not None else []
    assert points == ([] if gap is None else [(len(accuracies), START + 9000, gap)])


def test_a_number_that_is_not_finite_is_left_out(store, small):
    small.start("kd")
    metrics = {"loss/total": math.nan, "loss/kd": math.inf, "loss/ce": 1.5}
    small.add("kd", 0, "epoch", time=START + 1, epoch=0, metrics=metrics)
    sync(small.folder, store)
    assert find_run(store, "kd").data.metrics == {"loss/ce": 1.5}


def test_cells_that_have_not_started_have_no_run(store, small):
    small.cell_files("student").path.mkdir(parents=True)
    assert counts(sync(small.folder, store)) == (0, 0, 0)
    assert find_runs(store) == []


def test_rows_with_the_same_settings_share_a_journal_and_have_a_run_each(store, small):
    again = dataclasses.replace(small.cell("kd"), row="kd again")
    small.change_plan(cells=(*small.plan.cells, again))
    small.train("kd")
    for expected in ((2, 0, 0), (0, 0, 2)):
        assert counts(sync(small.folder, store)) == expected
    assert find_run(store, "kd").data.metrics == find_run(store, "kd again").data.metrics


def test_a_status_follows_its_journal_through_kill_failure_and_resume(store, small):
    def status():
        sync(small.folder, store)
        run = find_run(store, "kd")
        return run.info.status, run.info.end_time, run.data.tags.get("reason", "")

    lock = FileLock(small.folder / "running.lock")
    reason = "non-finite loss at epoch 1, step 7 (term kd)"
    with lock:
        small.start("kd")
        assert status() == ("RUNNING", None, "")
        small.epoch("kd", 0)
    assert status() == ("KILLED", START + 1000, "")

    with lock:
        small.start("kd", at=START + 1500, epoch=1)
        assert status()[0] == "RUNNING"
        small.add("kd", 0, "failed", time=START + 1600, reason=reason)
        assert status() == ("FAILED", START + 1600, reason)

        small.start("kd", at=START + 1700, epoch=1)
        running, _, no_reason = status()
        assert (running, no_reason) == ("RUNNING", "")

        small.epoch("kd", 1)
        small.final("kd")
        assert status() == ("FINISHED", START + 9000, "")
    assert status() == ("FINISHED", START + 9000, "")

    (run,) = find_runs(store)
    assert [step for step, *_ in history(store, run, "loss/total")] == [1, 2]


def test_the_lock_of_a_dead_process_is_no_sign_of_life(store, small):
    small.start("kd")
    code = """
import os, sys
import filelock

filelock.FileLock(sys.argv[1]).acquire()
os.kill(os.getpid(), 9)
"""
    lock = small.folder / "running.lock"
    start_python(code, lock).communicate()
    assert lock.exists()

    sync(small.folder, store)
    assert find_run(store, "kd").info.status == "KILLED"


def test_a_training_that_is_resumed_in_another_environment_says_so(store, small):
    small.start("kd")
    sync(small.folder, store)
    assert "kdbench.drift" not in find_run(store, "kd").data.tags

    small.start("kd", at=START + 5, python="3.12", git_commit="def", device="cuda")
    sync(small.folder, store)

    run = find_run(store, "kd")
    assert run.data.tags["kdbench.drift"] == "device, git_commit, python"
    assert run.data.tags["git_commit"] == "def"
    assert run.data.tags["fingerprint"] == "python 3.11; then device cuda, python 3.12"

    path = mlflow_client(store).download_artifacts(run.info.run_id, "environment.json")
    assert json.loads(Path(path).read_text()) == {
        "python": "3.12",
        "git_commit": "def",
        "device": "cuda",
    }
