"""The saved views of a search: settings, trials and curves."""

from __future__ import annotations

import pytest

from benchmark.tracking import views
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.search_views import COORDINATES, CURVES, TABLE, search_views
from benchmark.tracking.sync_search import sync_search
from tests.support.searched import KEY, Search, counts, find_experiment, find_runs, saved_view

pytestmark = pytest.mark.mlflow


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path / "small" / "search")


def drawn(state):
    return [chart for chart in state["compareRunCharts"] if not chart["deleted"]]


def test_coordinates_show_the_settings_and_the_objective(store, search):
    search.finish()
    sync_search(search.folder, store)

    state = saved_view(store, COORDINATES)["state"]
    condition = f"tags.`kdbench.kind` = 'trial' and tags.`kdbench.search` = '{KEY}'"
    assert state["searchFilter"] == condition
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", False)
    assert state["runsHiddenMode"] == "SHOW_ALL"

    settings = ["at.variant", "ls.kd.temperature", "ls.kd.weight"]
    parallel, contour, *scatters = charts = drawn(state)
    kinds = [chart["type"] for chart in charts]
    assert kinds == ["PARALLEL", "CONTOUR", "SCATTER", "SCATTER", "SCATTER"]
    assert parallel["selectedParams"] == settings
    assert parallel["selectedMetrics"] == ["objective"]
    assert [contour[axis] for axis in ("xaxis", "yaxis", "zaxis")] == [
        {"key": "ls.kd.temperature", "type": "PARAM"},
        {"key": "ls.kd.weight", "type": "PARAM"},
        {"key": "objective", "type": "METRIC"},
    ]
    assert [chart["xaxis"]["key"] for chart in scatters] == settings

    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts} == sections


def test_coordinates_name_every_setting_and_metric_of_the_trials(store, search):
    search.finish()
    sync_search(search.folder, store)

    run = find_runs(store, "trial")[0]
    state = saved_view(store, COORDINATES)["state"]
    assert set(drawn(state)[0]["selectedParams"]) == set(run.data.params)
    deleted = {chart["metricKey"] for chart in state["compareRunCharts"] if chart["deleted"]}
    assert deleted == set(run.data.metrics)


def test_the_table_has_the_columns_of_a_search(store, search):
    search.finish()
    sync_search(search.folder, store)

    state = saved_view(store, TABLE)["state"]
    assert state["selectedColumns"] == [
        "metrics.`objective`",
        "metrics.`objective/seed_1000`",
        "metrics.`objective/seed_1001`",
        "params.`at.variant`",
        "params.`ls.kd.temperature`",
        "params.`ls.kd.weight`",
        "tags.`source`",
        "tags.`state`",
        "metrics.`cost/compute_tmac`",
    ]
    assert state["groupBy"] is None


def test_the_curves_begin_with_the_objective(store, search):
    search.finish()
    sync_search(search.folder, store)
    charts = drawn(saved_view(store, CURVES)["state"])
    assert [(chart["type"], chart["metricKey"]) for chart in charts] == [
        ("LINE", "val/acc1"),
        ("LINE", "loss/total"),
    ]


def test_if_lower_is_better_the_lowest_comes_first(search):
    search.record |= {"maximise": False, "objective": "val/loss"}
    assert all(view.state["orderByAsc"] for view in search_views(search.read(), set()))


@pytest.mark.parametrize("broken", ["pack", "tag"])
def test_a_view_that_cannot_be_written_is_only_a_warning(store, search, monkeypatch, broken):
    search.finish()
    client = import_mlflow().MlflowClient
    set_experiment_tag = client.set_experiment_tag
    warnings = []

    def refuse_views(self, experiment_id, key, value):
        if key.startswith(views.PREFIX):
            raise OSError("tag too long")
        return set_experiment_tag(self, experiment_id, key, value)

    with monkeypatch.context() as patch:
        if broken == "pack":
            patch.setattr(views, "pack", lambda *_: 1 / 0)
        else:
            patch.setattr(client, "set_experiment_tag", refuse_views)
        assert counts(sync_search(search.folder, store, warn=warnings.append)) == (6, 0, 0)
    (warning,) = warnings
    assert "saved views" in warning
    assert not any(key.startswith(views.PREFIX) for key in find_experiment(store).tags)

    assert counts(sync_search(search.folder, store, warn=warnings.append)) == (0, 0, 6)
    assert len(warnings) == 1
    assert saved_view(store, TABLE)["name"] == "Search: all trials"
