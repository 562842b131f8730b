"""Trained networks in MLflow's tab of models, and their links to runs, teachers and data."""

from __future__ import annotations

import shutil

import pytest

from benchmark.errors import TrackingError
from benchmark.tracking.client import MissingEndpointError, import_mlflow
from benchmark.tracking.run_inputs import used_data
from benchmark.tracking.sync import sync
from tests.support.journalled import (
    START,
    TEACHER_SHA256,
    configuration,
    counts,
    find_models,
    find_run,
    find_runs,
    history,
    mlflow_client,
)

pytestmark = pytest.mark.mlflow

NAMES = {"kd a-b s0", "student a-b s0", "teacher a-b s0"}


def test_every_finished_run_has_a_model_with_its_settings_and_origin(store, small):
    small.finish()
    sync(small.folder, store)

    models = find_models(store)
    assert set(models) == NAMES
    student, run = models["kd a-b s0"], find_run(store, "kd")
    assert (student.status.value, student.model_type) == ("READY", "run")
    assert student.source_run_id == run.info.run_id
    assert student.params == run.data.params
    assert student.tags["mlflow.model.isExternal"] == "true"
    assert student.tags["sha256"] == "0" * 64
    assert student.tags["teacher_sha256"] == TEACHER_SHA256
    assert student.tags["cell"] == run.data.tags["cell"]


def test_a_model_carries_the_results_and_those_on_test_data_name_it(store, small):
    small.finish()
    sync(small.folder, store)

    metrics = {metric.key: metric for metric in find_models(store)["kd a-b s0"].metrics}
    assert {key: metric.value for key, metric in metrics.items()} == {
        "test/acc1": 92.0,
        "test/f1": 0.9,
        "cost/params": 1e4,
        "val/best_minus_last": 0.0,
    }
    test = metrics["test/acc1"]
    digest = used_data(configuration("kd"))[-1].digest
    assert (test.dataset_name, test.dataset_digest) == ("digits test", digest)
    assert metrics["cost/params"].dataset_name is None
    assert history(store, find_run(store, "kd"), "test/acc1") == [(2, START + 9000, 92.0)]


def test_students_are_linked_to_their_teacher(store, small):
    small.finish()
    sync(small.folder, store)

    models = find_models(store)
    teacher = models["teacher a-b s0"]
    assert teacher.model_type == "teacher"
    assert "teacher_model" not in teacher.tags

    for row in ("student", "kd"):
        model = models[f"{row} a-b s0"]
        assert model.tags["teacher_model"] == teacher.model_id
        run = mlflow_client(store).get_run(find_run(store, row).info.run_id)
        assert [entry.model_id for entry in run.inputs.model_inputs] == [teacher.model_id]
        outputs = [(entry.model_id, entry.step) for entry in run.outputs.model_outputs]
        assert outputs == [(model.model_id, 2)]


def test_a_run_that_is_not_finished_has_no_model(store, small):
    small.start("kd")
    small.epoch("kd", 0)
    sync(small.folder, store)
    assert find_models(store) == {}


@pytest.mark.parametrize(
    "call",
    [
        "create_logged_model",
        "log_inputs",
        "log_outputs",
        "finalize_logged_model",
    ],
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sync_that_is_killed_at_any_call_leaves_no_model_twice(
    store, small, monkeypatch, call, moment
):
    small.finish()
    original = getattr(import_mlflow().MlflowClient, call)

    def die(*arguments, **named):
        if moment == "after":
            original(*arguments, **named)
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(import_mlflow().MlflowClient, call, die)
            with pytest.raises(KeyboardInterrupt):
                sync(small.folder, store)
    sync(small.folder, store)

    models = find_models(store)
    assert set(models) == NAMES
    teacher = models["teacher a-b s0"]
    for row in ("student", "kd"):
        model = models[f"{row} a-b s0"]
        assert model.status.value == "READY"
        assert model.tags["teacher_model"] == teacher.model_id
        assert len(model.metrics) == 4
        run = mlflow_client(store).get_run(find_run(store, row).info.run_id)
        assert [entry.model_id for entry in run.outputs.model_outputs] == [model.model_id]
        assert [entry.model_id for entry in run.inputs.model_inputs] == [teacher.model_id]
    assert counts(sync(small.folder, store)) == (0, 0, 3)


def test_runs_of_an_older_version_get_models_at_the_next_sync(store, small, monkeypatch):
    small.finish()
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.tracking.models.Models.write", lambda *_: False)
        sync(small.folder, store)
    assert find_models(store) == {}

    before = {run.info.run_id for run in find_runs(store)}
    assert counts(sync(small.folder, store)) == (0, 3, 0)
    assert set(find_models(store)) == NAMES
    assert {run.info.run_id for run in find_runs(store)} == before


def test_the_model_of_a_cell_that_was_trained_again_is_replaced(store, small):
    small.finish()
    sync(small.folder, store)
    first = find_models(store)

    shutil.rmtree(small.cell_files("kd").path)
    sync(small.folder, store)
    assert set(find_models(store)) == NAMES - {"kd a-b s0"}

    small.train("kd", at=START + 50_000)
    sync(small.folder, store)
    second = find_models(store)
    assert set(second) == NAMES
    assert second["kd a-b s0"].model_id != first["kd a-b s0"].model_id
    assert second["student a-b s0"].model_id == first["student a-b s0"].model_id


def test_the_models_of_cells_that_are_no_longer_planned_are_deleted(store, small):
    small.finish()
    sync(small.folder, store)
    small.change_plan(methods=("student",), cells=(small.cell("student"),))
    sync(small.folder, store)
    assert set(find_models(store)) == NAMES - {"kd a-b s0"}


def test_while_teachers_are_being_trained_no_model_is_deleted(store, small):
    small.finish()
    sync(small.folder, store)
    small.change_plan(cells=())
    small.change_teacher(teacher_id="")
    sync(small.folder, store)
    assert set(find_models(store)) == NAMES


def test_the_model_of_a_run_that_was_deleted_by_hand_gives_way_to_that_of_the_new_run(store, small):
    small.finish()
    sync(small.folder, store)
    first = find_models(store)["kd a-b s0"]
    mlflow_client(store).delete_run(find_run(store, "kd").info.run_id)

    assert counts(sync(small.folder, store)) == (1, 0, 2)
    assert set(find_models(store)) == NAMES
    assert find_models(store)["kd a-b s0"].model_id != first.model_id


def test_models_are_read_only_if_one_is_missing_or_old(store, small, monkeypatch):
    small.finish()
    sync(small.folder, store)

    reads = []
    original = import_mlflow().MlflowClient.search_logged_models

    def count(*arguments, **named):
        reads.append(named)
        return original(*arguments, **named)

    monkeypatch.setattr(import_mlflow().MlflowClient, "search_logged_models", count)
    sync(small.folder, store)
    assert not reads

    small.change_plan(methods=("student",), cells=(small.cell("student"),))
    sync(small.folder, store)
    assert len(reads) == 1
    sync(small.folder, store)
    assert len(reads) == 1


def test_a_model_that_somebody_else_logged_is_left_alone(store, small):
    small.finish()
    identity = sync(small.folder, store).experiment_id
    mlflow_client(store).create_logged_model(identity, name="mine")
    sync(small.folder, store)
    assert set(find_models(store)) == NAMES | {"mine"}


def test_an_older_server_without_models_still_gets_the_runs(store, small, monkeypatch):
    small.finish()

    def missing(*_, **__):
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

        raise MlflowException("failed with error code 404 != 200", ENDPOINT_NOT_FOUND)

    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, "search_logged_models", missing)
        assert counts(sync(small.folder, store)) == (3, 0, 0)
    assert find_models(store) == {}


@pytest.mark.parametrize(
    ("message", "missing"),
    [("API failed with error code 405 != 200", True), ("failed with error code 500 != 200", False)],
)
def test_other_failures_of_a_server_are_reported(store, small, monkeypatch, message, missing):
    small.finish()

    def fail(*_, **__):
        from mlflow.exceptions import MlflowException

        raise MlflowException(message)

    monkeypatch.setattr(import_mlflow().MlflowClient, "search_logged_models", fail)
    if missing:
        assert counts(sync(small.folder, store)) == (3, 0, 0)
        return

    with pytest.raises(TrackingError, match="500") as found:
        sync(small.folder, store)
    assert not isinstance(found.value, MissingEndpointError)
