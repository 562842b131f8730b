"""The saved views of a search: coordinates, trials and curves."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

from benchmark.records.search import SearchRecord
from benchmark.tracking import views
from benchmark.tracking.client import mlflow_name
from benchmark.tracking.tags import COMPUTE, KIND, OBJECTIVE, SEARCH, TRIAL
from benchmark.tracking.views import View, metric, param, tag

COORDINATES = "search-coordinates"
"""Key of the view of settings and objective."""

TABLE = "search-trials"
"""Key of the view with one row per trial."""

CURVES = "search-curves"
"""Key of the view with curves over the epochs."""

_MOST_CHARTS = 6
"""Maximum number of charts of one kind in a view."""

_CURVE_PREFIXES = ("val/", "loss/", "train/")
"""Prefixes of the metrics that are drawn over the epochs."""


def seed_objective(seed: int | str) -> str:
    """Return the name of the metric with a trial's objective for one seed."""
    return f"{OBJECTIVE}/seed_{seed}"


def search_views(record: SearchRecord, curves: Collection[str]) -> list[View]:
    """Return the views of a search.

    Args:
        record: The search.
        curves: All metrics that its trials have logged over the epochs.
    """
    seeds = [seed_objective(seed) for seed in record.seeds]
    metrics = {*curves, OBJECTIVE, COMPUTE, *seeds}

    return [
        _coordinates(record, metrics),
        _trials(record, seeds),
        _curves(record, curves, metrics),
    ]


def _table(key: str, name: str, record: SearchRecord, columns: list[str]) -> View:
    """Return a table of trials, the best objective first."""
    return views.table_view(
        key,
        name,
        f"{tag(KIND)} = '{TRIAL}' and {tag(SEARCH)} = '{record.key}'",
        columns,
        metric(OBJECTIVE),
        ascending=not record.maximise,
    )


def _coordinates(record: SearchRecord, metrics: Collection[str]) -> View:
    columns = [metric(OBJECTIVE), *_settings(record)]
    table = _table(COORDINATES, "Search: settings and objective", record, columns)

    objective: views.Axis = ("METRIC", OBJECTIVE)
    params = [mlflow_name(name) for name in record.space]
    pairs = itertools.combinations(_numeric_params(record), 2)
    sections = {
        "All settings": [views.parallel(params, [OBJECTIVE])],
        "Two settings": [
            views.contour(("PARAM", x), ("PARAM", y), objective)
            for x, y in itertools.islice(pairs, _MOST_CHARTS // 2)
        ],
        "One setting": [
            views.scatter(("PARAM", name), objective) for name in params[:_MOST_CHARTS]
        ],
    }
    return views.with_charts(table, sections, {"All settings": 1, "Two settings": 2}, metrics)


def _trials(record: SearchRecord, seeds: list[str]) -> View:
    columns = [metric(OBJECTIVE), *map(metric, seeds), *_settings(record)]
    columns += [tag("source"), tag("state"), metric(COMPUTE)]
    return _table(TABLE, "Search: all trials", record, columns)


def _curves(record: SearchRecord, curves: Collection[str], metrics: Collection[str]) -> View:
    columns = [metric(OBJECTIVE), *_settings(record)]
    table = _table(CURVES, "Search: curves", record, columns)

    def rank(name: str) -> tuple[bool, bool, str]:
        """Rank the objective first, then validation metrics, then the others."""
        return (name != record.objective, not name.startswith("val/"), name)

    drawn = [name for name in sorted(curves, key=rank) if name.startswith(_CURVE_PREFIXES)]

    title = "Means over the seeds"
    lines = [views.line(name) for name in drawn[:_MOST_CHARTS]]
    return views.with_charts(table, {title: lines}, {title: 2}, metrics)


def _settings(record: SearchRecord) -> list[str]:
    """Return the columns of the settings that are searched."""
    return [param(mlflow_name(name)) for name in record.space]


def _numeric_params(record: SearchRecord) -> list[str]:
    """Return the params that are a number in every trial."""
    return [
        mlflow_name(name)
        for name in record.space
        if all(_is_number(trial.params.get(name)) for trial in record.trials)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
