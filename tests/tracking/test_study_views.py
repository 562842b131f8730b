"""The saved views of a study show what its runs have logged."""

from __future__ import annotations

import pytest

from benchmark.measures import MEASURES
from benchmark.tracking import report_run, views
from benchmark.tracking.runs import plan
from benchmark.tracking.study_views import CURVES, LEADERBOARD, REPORT_VIEW, RUNS, study_views
from benchmark.tracking.sync import sync
from tests.support.journalled import Study, find_runs, mlflow_client

pytestmark = pytest.mark.mlflow


@pytest.fixture
def published(tmp_path, store):
    """The store, with a finished study whose views are saved."""
    study = Study(tmp_path, rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()
    sync(study.folder, store)
    publish(store)
    return store


def publish(store):
    report_run.publish("kd/small", store, plan("kd/small", store), "Result.", [], pytest.fail)


def saved_views(store):
    """The states of the saved views by key."""
    tags = mlflow_client(store).get_experiment_by_name("kd/small").tags
    return {
        name.removeprefix(views.PREFIX): views.unpack(value)["state"]
        for name, value in tags.items()
        if name.startswith(views.PREFIX)
    }


def drawn(state):
    """Type and metric of each chart."""
    return [
        (chart["type"], chart["metricKey"])
        for chart in state.get("compareRunCharts", [])
        if not chart["deleted"]
    ]


def some_run(store):
    return find_runs(store, "tags.`kdbench.kind` = 'run'")[0]


def test_the_views_name_metrics_and_tags_that_the_runs_have(published):
    run = some_run(published)
    names = {f"metrics.`{key}`" for key in run.data.metrics}
    names |= {f"tags.`{key}`" for key in run.data.tags}
    names |= {"tags.`reason`", "tags.`result`", "attributes.`Dataset`"}

    states = saved_views(published)
    assert set(states) == {LEADERBOARD, REPORT_VIEW, RUNS, CURVES}
    for state in states.values():
        assert set(state["selectedColumns"]) <= names
        charted = {chart["metricKey"] for chart in state.get("compareRunCharts", [])}
        assert charted in (set(), set(run.data.metrics))


def groups_of(state):
    """Tags that a view groups runs by."""
    return [group["groupByData"] for group in state["groupBy"]["groupByKeys"]]


def test_the_leaderboard_groups_runs_by_row(published):
    state = saved_views(published)[LEADERBOARD]
    assert groups_of(state) == ["row"]
    assert state["groupsExpanded"] == {
        "tag.row.student": False,
        "tag.row.kd": False,
        "tag.row.kd+at": False,
    }
    assert drawn(state) == [("BAR", "test/acc1"), ("BAR", "test/f1"), ("BAR", "cost/params")]


def test_the_view_of_runs_has_a_row_per_run(published):
    state = saved_views(published)[RUNS]
    assert state["groupBy"] is None
    assert state["selectedColumns"][:7] == [
        "tags.`top1`",
        "tags.`method`",
        "tags.`pair`",
        "tags.`seed`",
        "tags.`budget`",
        "metrics.`test/acc1`",
        "metrics.`test/f1`",
    ]


def test_the_curves_are_those_of_accuracy_and_loss(published):
    assert drawn(saved_views(published)[CURVES]) == [("LINE", "val/acc1"), ("LINE", "loss/total")]


def test_mlflow_accepts_the_conditions_of_the_views(published):
    identity = some_run(published).info.experiment_id
    for key in (LEADERBOARD, REPORT_VIEW, RUNS):
        condition = saved_views(published)[key]["searchFilter"]
        assert mlflow_client(published).search_runs([identity], condition)


def test_the_views_of_an_older_version_are_replaced(published):
    client = mlflow_client(published)
    experiment = client.get_experiment_by_name("kd/small")
    before = saved_views(published)
    old = views.table_view(LEADERBOARD, "Old name", "", [], views.metric("test/acc1"))
    client.set_experiment_tag(experiment.experiment_id, old.tag, views.pack(old, None, 1))

    publish(published)
    assert saved_views(published) == before


def test_every_measure_of_a_result_is_a_column_of_the_leaderboard():
    keys = [measure.key for measure in MEASURES]
    columns = study_views(keys, [])[0].state["selectedColumns"]
    expected = {f"metrics.`{measure.key}`" for measure in MEASURES if measure.group != "diagnostic"}
    assert set(columns) == expected
    assert columns[0] == "metrics.`test/acc1`"


def test_if_mlflow_loads_only_some_runs_the_means_are_of_whole_methods():
    crowded = study_views({"test/acc1"}, [], crowded=True)
    orders = {view.key: view.state["orderByKey"] for view in crowded}
    assert orders[LEADERBOARD] == orders[CURVES] == "tags.`method`"
    assert orders[RUNS] == "metrics.`test/acc1`"
    titled = {view.key for view in crowded if view.name.startswith("First 100 runs: means")}
    assert titled == {LEADERBOARD, CURVES}
    assert study_views({"test/acc1"}, [])[0].state["orderByKey"] == "metrics.`test/acc1`"


def test_rows_with_different_budgets_have_leaderboards_of_their_own(tmp_path, store):
    rows = ("student", "kd", "kd (tuned)")
    study = Study(tmp_path, rows=rows)
    study.change_plan(trials={"kd (tuned)": 20})
    study.finish()
    sync(study.folder, store)
    publish(store)

    states = saved_views(store)
    shown = {}
    for key in (LEADERBOARD, "leaderboard-20-trials"):
        (experiment,) = {run.info.experiment_id for run in find_runs(store)}
        found = mlflow_client(store).search_runs([experiment], states[key]["searchFilter"])
        shown[key] = {run.data.tags["method"] for run in found}
        assert set(states[key]["groupsExpanded"]) == {f"tag.row.{row}" for row in shown[key]}
    assert shown == {LEADERBOARD: {"student", "kd"}, "leaderboard-20-trials": {"kd (tuned)"}}

    pages = report_run.addresses("http://host", store)["kd/small"]
    assert pages["20 trials"].endswith("&viewStateShareKey=leaderboard-20-trials")


def test_with_several_pairs_a_group_is_named_by_row_and_pair(tmp_path, store):
    study = Study(tmp_path)
    study.change_plan(pairs=("a-b", "c-d"))
    study.finish()
    sync(study.folder, store)
    assert {run.data.tags["row"] for run in find_runs(store, "tags.`kdbench.kind` = 'run'")} == {
        "student, a-b",
        "kd, a-b",
    }


def test_runs_of_an_older_version_are_grouped_by_method_and_pair():
    older = [{"method": "kd", "pair": "a-b"}, {"method": "at", "pair": "a-b"}]
    state = study_views({"test/acc1"}, older)[0].state
    assert groups_of(state) == ["method", "pair"]
    assert state["groupsExpanded"]["tag.method.kd,tag.pair.a-b"] is False


@pytest.mark.parametrize("row", ["kd", "a_method_with_a_long_name+another_one, and_a_long_pair"])
def test_name_and_accuracy_fit_into_the_width_that_a_narrow_window_leaves(row):
    view = study_views({"test/acc1"}, [{"row": row}])[0]
    widths = view.state["columnWidths"]
    before = sum(widths[column] for column in view.state["columnOrder"][:2])
    checkbox, left = 75, 488  # of a window of 1000 pixels in which MLflow's assistant is open
    assert checkbox + before + 100 < left
    assert widths["metrics.`test/acc1`"] >= 100
