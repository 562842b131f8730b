"""What a run in MLflow holds of a trial."""

from __future__ import annotations

import math

import pytest

from benchmark import locks
from benchmark.records.layout import Workspace
from benchmark.records.workspace_id import identify
from benchmark.tracking.sync_search import sync_search
from tests.support.journalled import START, history
from tests.support.searched import (
    EXPERIMENT,
    KEY,
    SEEDS,
    Search,
    counts,
    find_runs,
    validation_accuracy,
)

pytestmark = pytest.mark.mlflow


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path / "small" / "search")


def test_a_trial_holds_its_settings_and_the_values_of_its_seeds(store, search):
    search.finish()
    results = sync_search(search.folder, store)
    assert list(results) == [EXPERIMENT]
    assert counts(results) == (6, 0, 0)

    published, run, *_ = find_runs(store, "trial")
    assert published.info.run_name == "trial 0 (published)"
    assert run.info.run_name == "trial 1"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (START, START + 9000 + 1001)
    assert run.data.params == {
        "ls.kd.temperature": "5.0",
        "ls.kd.weight": "0.9",
        "at.variant": "mean",
    }
    assert run.data.metrics["objective"] == search.trials[1]["value"]
    assert run.data.metrics["objective/seed_1000"] == validation_accuracy(1, 1000, 1)
    assert run.data.metrics["objective/seed_1001"] == validation_accuracy(1, 1001, 1)
    assert run.data.metrics["cost/compute_tmac"] == 0.25


def test_the_tags_of_a_trial_name_its_search_and_its_cells(store, search):
    search.finish()
    sync_search(search.folder, store)
    tags = dict(find_runs(store, "trial")[1].data.tags)
    assert tags.pop("kdbench.synced").startswith("2 ")
    assert tags == {
        "kdbench.workspace": identify(Workspace(search.folder.parents[1])),
        "kdbench.kind": "trial",
        "kdbench.schema": "1",
        "kdbench.search": KEY,
        "study": "small",
        "dataset": "digits",
        "pair": "a-b",
        "method": "ls(kd)+at",
        "teacher": "resnet18",
        "student": "test_byobnet",
        "trial": "1",
        "source": "search",
        "state": "complete",
        "cells": "cells/a1b1-1000, cells/a1b1-1001",
        "optuna.study": KEY,
        "optuna.trial": "1",
        "mlflow.runName": "trial 1",
    }


def test_a_trial_names_its_study_in_optuna(store, search):
    search.record["optuna_study"] = "small/a-b/ls(kd)+at"
    search.finish()
    sync_search(search.folder, store)
    assert find_runs(store, "trial")[0].data.tags["optuna.study"] == "small/a-b/ls(kd)+at"


def test_curves_are_means_over_the_seeds_where_all_have_the_epoch_and_the_metric(store, search):
    search.train(search.ask(), epochs=1)
    search.epoch(0, 1000, 1, only=1.0, broken=1.0)
    search.epoch(0, 1001, 1, broken=math.nan)
    search.epoch(0, 1000, 2)
    search.tell(0, "FAIL")
    search.save()
    sync_search(search.folder, store)

    (run,) = find_runs(store, "trial")
    expected = []
    for epoch in (0, 1):
        accuracies = [validation_accuracy(0, seed, epoch) for seed in SEEDS]
        time = START + 1000 * (epoch + 1) + 1001
        expected.append((epoch + 1, time, sum(accuracies) / 2))
    assert history(store, run, "val/acc1") == expected
    assert not {"only", "broken"} & set(run.data.metrics)


def test_a_trial_in_progress_waits_for_its_second_seed(store, search):
    search.ask()
    search.start(0, 1000)
    search.epoch(0, 1000, 0)
    search.save()
    with locks.locked(search.folder):
        sync_search(search.folder, store)
        assert find_runs(store, "trial")[0].data.metrics == {}

        search.start(0, 1001)
        search.epoch(0, 1001, 0)
        search.save()
        assert counts(sync_search(search.folder, store)) == (0, 2, 0)

    accuracies = [validation_accuracy(0, seed, 0) for seed in SEEDS]
    points = history(store, find_runs(store, "trial")[0], "val/acc1")
    assert [value for *_, value in points] == [sum(accuracies) / 2]


def test_statuses_of_trials(store, search):
    search.finish()
    with locks.locked(search.folder):
        sync_search(search.folder, store)

    runs = find_runs(store, "trial")
    assert [(run.info.status, run.data.tags["state"]) for run in runs] == [
        ("FINISHED", "complete"),
        ("FINISHED", "complete"),
        ("FAILED", "failed"),
        ("KILLED", "pruned"),
        ("RUNNING", "running"),
    ]
    _, _, failed, pruned, running = runs
    assert failed.data.tags["reason"] == "loss kd is nan"
    assert "objective" not in pruned.data.metrics
    assert pruned.data.metrics["val/acc1"] == validation_accuracy(3, 1000, 0)
    assert running.info.end_time is None

    sync_search(search.folder, store)
    interrupted = find_runs(store, "trial")[4]
    assert interrupted.info.status == "KILLED"
    assert interrupted.data.tags["state"] == "interrupted"


def test_a_trial_that_failed_before_its_journal_began_is_shown(store, search):
    search.tell(search.ask(), "FAIL")
    search.save()
    for expected in ((2, 0, 0), (0, 0, 2)):
        assert counts(sync_search(search.folder, store)) == expected
    assert find_runs(store, "trial")[0].info.status == "FAILED"
