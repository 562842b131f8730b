"""The saved views of a study: leaderboard, runs and curves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmark.measures import BY_COLUMN, MEASURES
from benchmark.tracking import views
from benchmark.tracking.tags import (
    KIND,
    RUN,
    TOTAL_LOSS,
    TRAINING_ACCURACY,
    VALIDATION_ACCURACY,
)
from benchmark.tracking.views import View, metric, tag

LEADERBOARD = "leaderboard"
"""Key of the view with means by method and pair."""

RUNS = "runs"
"""Key of the view with one row per run."""

CURVES = "curves"
"""Key of the view with curves over the epochs."""

GROUPS = ("method", "pair")
"""Tags that runs are grouped by."""

PAGE_SIZE = 100
"""Number of runs that MLflow's page loads at once."""

_ACCURACY = BY_COLUMN["acc1"]
_QUALITY = [measure.key for measure in MEASURES if measure.group == "quality"]
_COSTS = [measure.key for measure in MEASURES if measure.group in ("size", "compute", "measured")]
_OVER_EPOCHS = (VALIDATION_ACCURACY, TRAINING_ACCURACY, TOTAL_LOSS)

_RUNS = f"{tag(KIND)} = '{RUN}'"
_FINISHED = f"{_RUNS} and attributes.status = 'FINISHED'"


def study_views(
    metrics: Collection[str], groups: Sequence[Sequence[str]], *, crowded: bool = False
) -> list[View]:
    """Return the views of a study.

    Args:
        metrics: All metrics that any of its runs has logged.
        groups: Method and pair of each group of runs.
        crowded: Whether there are more runs than MLflow's page loads at once. The runs are then
            sorted by method, because means include only the loaded runs: if sorted by accuracy,
            these would be the best runs of each method.
    """
    return [
        _leaderboard(metrics, groups, crowded),
        _runs(metrics),
        _curves(metrics, groups, crowded),
    ]


def _leaderboard(metrics: Collection[str], groups: Sequence[Sequence[str]], crowded: bool) -> View:
    columns = _logged([*_QUALITY, *_COSTS], metrics)
    table = views.table_view(
        LEADERBOARD,
        f"{_scope('Leaderboard', crowded)}: means by method and pair",
        _FINISHED,
        [metric(name) for name in columns],
        _order(crowded),
        ascending=crowded,
        group_by=GROUPS,
        folded=groups,
    )

    accuracy = f"{_ACCURACY.title} on the test set"
    others = [name for name in _QUALITY if name != _ACCURACY.key]
    sections = {
        accuracy: _bars([_ACCURACY.key], metrics),
        "Other quality measures": _bars(others, metrics),
        "Costs": _bars(_COSTS, metrics),
    }
    side_by_side = {accuracy: 1, "Other quality measures": 2}
    return views.with_charts(table, sections, side_by_side, metrics)


def _runs(metrics: Collection[str]) -> View:
    columns = [tag(name) for name in ("method", "pair", "seed")]
    columns += [
        metric(name) for name in _logged([*_QUALITY, VALIDATION_ACCURACY, *_COSTS], metrics)
    ]
    columns += [tag(name) for name in ("reason", "cell")]
    return views.table_view(RUNS, "Runs", _RUNS, columns, metric(_ACCURACY.key))


def _curves(metrics: Collection[str], groups: Sequence[Sequence[str]], crowded: bool) -> View:
    table = views.table_view(
        CURVES,
        f"{_scope('Curves', crowded)}: means over the seeds",
        _RUNS,
        [metric(_ACCURACY.key)],
        _order(crowded),
        ascending=crowded,
        group_by=GROUPS,
        folded=groups,
    )

    title = "Over the epochs"
    lines = [views.line(name) for name in _logged(_OVER_EPOCHS, metrics)]
    return views.with_charts(table, {title: lines}, {title: 1}, metrics)


def _order(crowded: bool) -> str:
    return tag("method") if crowded else metric(_ACCURACY.key)


def _scope(title: str, crowded: bool) -> str:
    return f"First {PAGE_SIZE} runs" if crowded else title


def _bars(names: Sequence[str], metrics: Collection[str]) -> list[views.Chart]:
    return [views.bar(name) for name in _logged(names, metrics)]


def _logged(names: Sequence[str], metrics: Collection[str]) -> list[str]:
    """Return the metrics in a list that any run has logged."""
    return [name for name in names if name in metrics]
