"""Tables that are read from MLflow alone."""

from __future__ import annotations

import pytest

from benchmark.errors import InputError
from benchmark.leaderboard.table import leaderboard
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.runs import histories, plan, runs
from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync
from tests.support.journalled import Study, find_run, mlflow_client

pytestmark = pytest.mark.mlflow


def test_a_table_has_a_row_per_run_and_a_column_per_measure(tmp_path, store):
    Study(tmp_path, rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()
    sync(tmp_path / "small", store)

    table = runs("kd/small", store)
    assert list(table.columns) == [
        "run_id",
        "kind",
        "status",
        "reason",
        "environment",
        "fingerprint",
        "stopped",
        "pair",
        "method",
        "teacher",
        "teacher_id",
        "student",
        "dataset",
        "seed",
        "cell",
        "cost/params",
        "test/acc1",
        "test/f1",
        "val/best_minus_last",
    ]
    assert table["seed"].dtype == "int64"
    methods = list(table["method"])
    assert methods == 3 * ["kd"] + 3 * ["kd+at"] + 3 * ["student"] + ["teacher"]


def test_the_runs_of_an_experiment_make_its_leaderboard(tmp_path, store):
    Study(tmp_path, rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()
    sync(tmp_path / "small", store)

    table = leaderboard(runs("kd/small", store), plan("kd/small", store)).set_index("method")
    assert list(table.index) == ["teacher", "kd+at", "kd", "student"]
    assert list(table["acc1"]) == [97.0, 94.0, 93.0, 91.0]
    assert list(table["rank"])[1:] == [1, 2, 3]
    assert table.loc["kd", "vs_student"] == 2.0


def test_a_history_has_a_row_for_each_epoch_of_each_finished_run(tmp_path, store):
    study = Study(tmp_path, seeds=(0, 1))
    sync(study.folder, store)
    assert histories("kd/small", store, "val/acc1", {}).empty

    study.finish()
    sync(study.folder, store)

    table = histories("kd/small", store, "val/acc1", {})
    assert list(table.columns) == ["pair", "method", "seed", "step", "value"]
    steps = table.groupby(["method", "seed"])["step"].agg(list)
    assert set(steps.index) == {(method, seed) for method in ("student", "kd") for seed in (0, 1)}
    assert list(steps) == 4 * [[1, 2]]
    assert histories("kd/small", store, "no/such", {}).empty


def test_of_many_runs_only_the_histories_of_named_rows_are_read(tmp_path, store, monkeypatch):
    study = Study(tmp_path, seeds=(0, 1)).finish()
    sync(study.folder, store)
    rows = {"a-b": ["kd"]}
    all_rows = histories("kd/small", store, "val/acc1", rows, limit=4)

    client = import_mlflow().MlflowClient
    get_metric_history = client.get_metric_history
    calls = []

    def counted(*arguments, **named):
        calls.append(arguments)
        return get_metric_history(*arguments, **named)

    monkeypatch.setattr(client, "get_metric_history", counted)
    table = histories("kd/small", store, "val/acc1", rows, limit=3)
    assert table.equals(all_rows[all_rows["method"] == "kd"].reset_index(drop=True))
    assert table["seed"].nunique() == 2
    assert len(calls) == 2


def test_an_experiment_without_runs_gives_an_empty_table_and_a_leaderboard(store, small):
    sync(small.folder, store)
    table = runs("kd/small", store)
    assert table.empty
    assert leaderboard(table, plan("kd/small", store))["n"].sum() == 0


def test_all_pages_of_runs_are_read_and_deleted_runs_are_not(store, small, monkeypatch):
    small.finish()
    sync(small.folder, store)

    client = import_mlflow().MlflowClient
    search_runs = client.search_runs

    def one_per_page(*arguments, **named):
        return search_runs(*arguments, **named | {"max_results": 1})

    monkeypatch.setattr(client, "search_runs", one_per_page)
    assert len(runs("kd/small", store)) == 3

    mlflow_client(store).delete_run(find_run(store, "kd").info.run_id)
    assert set(runs("kd/small", store)["method"]) == {"student", "teacher"}


def test_an_unknown_experiment_is_named_with_similar_ones(tmp_path, store, small):
    with pytest.raises(InputError, match=r"no experiment 'kd/smal'; it contains no study yet"):
        runs("kd/smal", store)

    sync(small.folder, store)
    hint = r"mlflow\.db: no experiment 'kd/smal'; did you mean 'kd/small'\?"
    with pytest.raises(InputError, match=hint):
        runs("kd/smal", store)
    with pytest.raises(InputError, match="choose from kd/small"):
        plan("zzz", store)
    with pytest.raises(InputError, match="contains no kdbench study"):
        plan("Default", store)


def test_asking_a_store_that_is_not_there_creates_nothing(tmp_path):
    store = open_store(tmp_path / "nowhere", None)
    with pytest.raises(InputError, match="it contains no study yet"):
        runs("kd/small", store)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("seed", ["x", "", "-1", "0.5", None])
def test_a_run_whose_seed_somebody_changed_is_named_and_the_next_sync_mends_it(small, store, seed):
    small.finish()
    sync(small.folder, store)
    table, run = runs("kd/small", store), find_run(store, "kd")

    if seed is None:
        mlflow_client(store).delete_tag(run.info.run_id, "seed")
    else:
        mlflow_client(store).set_tag(run.info.run_id, "seed", seed)
    message = (
        rf"mlflow\.db: run {run.info.run_id}: its tag seed is '{seed or ''}', which is no seed; "
    )
    with pytest.raises(InputError, match=message + "`kdbench sync STUDY` writes it again"):
        runs("kd/small", store)

    sync(small.folder, store)
    assert runs("kd/small", store).equals(table)


@pytest.mark.parametrize("tag", ["x", "", "eJwDAAAAAAE=", "{", "W10=", '{"pairs": 5}'])
def test_a_damaged_plan_in_mlflow_is_named_and_the_next_sync_mends_it(small, store, tag):
    sync(small.folder, store)
    before = plan("kd/small", store)
    client = mlflow_client(store)
    experiment = client.get_experiment_by_name("kd/small").experiment_id
    client.set_experiment_tag(experiment, "kdbench.plan", tag)

    message = (
        r"mlflow\.db: the tag kdbench\.plan of experiment 'kd/small' is damaged; `kdbench sync"
    )
    with pytest.raises(InputError, match=message):
        plan("kd/small", store)

    sync(small.folder, store)
    assert plan("kd/small", store) == before
