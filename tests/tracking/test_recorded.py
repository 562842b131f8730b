"""Tables and plans that come back from MLflow alone."""

from __future__ import annotations

import base64

import pytest

from benchmark.errors import InputError
from benchmark.leaderboard.table import leaderboard
from benchmark.tracking import client as tracking_client
from benchmark.tracking import runs, sync
from benchmark.tracking import store as tracking_store
from tests.support.journalled import Study, client, one


def test_the_runs_of_an_experiment_make_its_leaderboard(tmp_path, store):
    Study(tmp_path, rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()
    sync.sync(tmp_path / "small", store)
    table = runs.runs("kd/small", store)
    head = [
        "run_id",
        "kind",
        "status",
        "reason",
        "environment",
        "fingerprint",
        "pair",
        "method",
        "teacher",
        "teacher_id",
        "student",
        "dataset",
    ]
    assert list(table.columns) == [
        *head,
        "seed",
        "cell",
        "cost/params",
        "test/acc1",
        "test/f1",
        "val/best_minus_last",
    ]
    assert table["seed"].dtype == "int64"
    assert list(table["method"]) == 3 * ["kd"] + 3 * ["kd+at"] + 3 * ["student"] + ["teacher"]
    board = leaderboard(table, runs.plan("kd/small", store)).set_index("method")
    assert list(board.index) == ["teacher", "kd+at", "kd", "student"]
    assert list(board["acc1"]) == [97.0, 94.0, 93.0, 91.0]
    assert list(board["rank"])[1:] == [1, 2, 3]
    assert board.loc["kd", "vs_student"] == 2.0


def test_the_history_of_a_metric_has_a_line_for_each_epoch_of_each_finished_run(tmp_path, store):
    study = Study(tmp_path, rows=("student", "kd"), seeds=(0, 1))
    sync.sync(study.folder, store)
    assert runs.histories("kd/small", store, "val/acc1", {}).empty
    study.finish()
    sync.sync(study.folder, store)
    found = runs.histories("kd/small", store, "val/acc1", {})
    assert list(found.columns) == ["pair", "method", "seed", "step", "value"]
    epochs = found.groupby(["method", "seed"])["step"].agg(list)
    assert set(epochs.index) == {(method, seed) for method in ("student", "kd") for seed in (0, 1)}
    assert all(steps == [*range(1, len(steps) + 1)] and len(steps) > 1 for steps in epochs)
    assert runs.histories("kd/small", store, "no/such", {}).empty


def test_of_many_runs_only_the_histories_of_the_rows_that_come_first_are_asked_for(
    tmp_path, store, monkeypatch
):
    study = Study(tmp_path, rows=("student", "kd"), seeds=(0, 1)).finish()
    sync.sync(study.folder, store)
    every = runs.histories("kd/small", store, "val/acc1", {"a-b": ["kd"]}, most=4)
    mlflow_client, asked = tracking_client.mlflow().MlflowClient, []
    history = mlflow_client.get_metric_history
    monkeypatch.setattr(
        mlflow_client, "get_metric_history", lambda *a, **k: asked.append(a) or history(*a, **k)
    )
    found = runs.histories("kd/small", store, "val/acc1", {"a-b": ["kd"]}, most=3)
    assert found.equals(every[every["method"] == "kd"].reset_index(drop=True))
    assert found["seed"].nunique() == 2
    assert len(asked) == 2


def test_an_experiment_without_runs_gives_an_empty_table_and_a_leaderboard(store, small):
    sync.sync(small.folder, store)
    table = runs.runs("kd/small", store)
    assert table.empty
    assert leaderboard(table, runs.plan("kd/small", store))["n"].sum() == 0


def test_all_pages_of_runs_are_read_and_deleted_runs_are_not(store, small, monkeypatch):
    small.finish()
    sync.sync(small.folder, store)
    mlflow_client = tracking_client.mlflow().MlflowClient
    search = mlflow_client.search_runs
    monkeypatch.setattr(
        mlflow_client, "search_runs", lambda *a, **k: search(*a, **k | {"max_results": 1})
    )
    assert len(runs.runs("kd/small", store)) == 3
    client(store).delete_run(one(store, "kd").info.run_id)
    assert set(runs.runs("kd/small", store)["method"]) == {"student", "teacher"}


@pytest.mark.parametrize("size", [1, 400])
def test_the_plan_comes_back_from_mlflow_alone_however_long_it_is(store, small, size):
    small.plan["not_applicable"] = {f"a-b/method {number}": "no maps" for number in range(size)}
    small.save()
    sync.sync(small.folder, store)
    plan = runs.plan("kd/small", store)
    assert plan.not_applicable == small.plan["not_applicable"]
    assert (plan.study, plan.question, plan.select, plan.baseline) == (
        "small",
        "Which is best?",
        "last",
        "student",
    )
    assert (plan.pairs, plan.methods, plan.seeds) == (("a-b",), ("student", "kd"), (0,))
    assert plan.datasets == {"a-b": "digits"}


def test_the_effort_of_tuning_comes_back_from_mlflow_and_a_plan_without_any_is_packed_as_before(
    store, small
):
    before = sync._pack(small.plan)
    small.plan |= {"trials": {}, "search_tmac": {}}
    assert sync._pack(small.plan) == before
    small.plan |= {"methods": ["kd", "kd (tuned)"], "trials": {"kd (tuned)": 20}, "baseline": None}
    small.plan["search_tmac"] = {"a-b/kd (tuned)": 0.1 + 0.2}
    small.save()
    sync.sync(small.folder, store)
    plan = runs.plan("kd/small", store)
    assert plan.trials == {"kd (tuned)": 20}
    assert plan.search_tmac == {"a-b/kd (tuned)": 0.1 + 0.2}
    assert (plan.published("kd (tuned)"), plan.published("kd"), plan.budgets) == ("kd", None, [20])


def test_rows_with_settings_of_the_authors_own_are_known_from_mlflow_alone(store, small):
    small.plan["altered"] = ["kd"]
    small.save()
    sync.sync(small.folder, store)
    assert runs.plan("kd/small", store).altered == ("kd",)


def test_an_unknown_experiment_is_named_with_its_neighbours(tmp_path, store, small):
    with pytest.raises(InputError, match=r"no experiment 'kd/smal'; it holds no study yet"):
        runs.runs("kd/smal", store)
    sync.sync(small.folder, store)
    with pytest.raises(
        InputError, match=r"mlflow\.db: no experiment 'kd/smal'; did you mean 'kd/small'\?"
    ):
        runs.runs("kd/smal", store)
    with pytest.raises(InputError, match="there are kd/small"):
        runs.plan("zzz", store)
    with pytest.raises(InputError, match="holds no study of kdbench"):
        runs.plan("Default", store)
    nowhere = tracking_store.open_store(tmp_path / "nowhere", None)
    with pytest.raises(InputError, match="it holds no study yet"):
        runs.runs("kd/small", nowhere)
    assert not (tmp_path / "nowhere").exists()


def test_the_packed_plan_is_plain_text():
    plan = {
        "study": "s",
        "question": "?" * 6000,
        "pairs": [],
        "methods": [],
        "seeds": [],
        "select": "last",
    }
    packed = sync._pack({**plan, "baseline": None, "not_applicable": {}, "dataset": "digits"})
    assert len(packed) < 500
    assert base64.b64decode(packed)
    assert runs._unpack(packed)["question"] == "?" * 6000
