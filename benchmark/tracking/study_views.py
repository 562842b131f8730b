"""The saved views of a study: leaderboards, report, runs and curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from benchmark.measures import ACCURACY, MEASURES
from benchmark.tracking import views
from benchmark.tracking.tags import (
    BUDGET,
    KIND,
    PUBLISHED,
    REPORT,
    RESULT,
    ROW,
    RUN,
    TOP1,
    TOTAL_LOSS,
    TRAINING_ACCURACY,
    VALIDATION_ACCURACY,
)
from benchmark.tracking.views import View, metric, tag

LEADERBOARD = "leaderboard"
"""Key of the view with a mean for each row of the leaderboard."""

REPORT_VIEW = "report"
"""Key of the view with the run that contains the report."""

RUNS = "runs"
"""Key of the view with one row per run."""

CURVES = "curves"
"""Key of the view with curves over the epochs."""

PAGE_SIZE = 100
"""Number of runs that MLflow's page loads at once."""

_QUALITY = [measure.key for measure in MEASURES if measure.group == "quality"]
_COSTS = [measure.key for measure in MEASURES if measure.group in ("size", "compute", "measured")]
_OVER_EPOCHS = (VALIDATION_ACCURACY, TRAINING_ACCURACY, TOTAL_LOSS)

_RUNS = f"{tag(KIND)} = '{RUN}'"
_FINISHED = f"{_RUNS} and attributes.status = 'FINISHED'"

_ACCURACY_WIDTH = 160
"""Width of the column with the accuracy, whose digits MLflow doesn't round."""

_RESULT_WIDTH = 600
"""Width of the column with the result in one sentence."""


def grouping(runs: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the tags that runs are grouped by.

    Args:
        runs: Tags of each run. Those from older versions have no tag `ROW`.
    """
    return (ROW,) if all(ROW in tags for tags in runs) else ("method", "pair")


def study_views(
    metrics: Collection[str], runs: Sequence[Mapping[str, str]], *, crowded: bool = False
) -> list[View]:
    """Return the views of a study.

    Rows with different budgets are not compared, so each budget has its own leaderboard.

    Args:
        metrics: All metrics that any of its runs has logged.
        runs: Tags of the run of each cell.
        crowded: Whether there are more runs than MLflow's page loads at once. The runs are then
            sorted by method, because means include only the loaded runs: if sorted by accuracy,
            these would be the best runs of each method.
    """
    return [
        *_leaderboards(metrics, runs, crowded),
        _report(),
        _runs(metrics),
        _curves(metrics, runs, crowded),
    ]


def _leaderboards(
    metrics: Collection[str], runs: Sequence[Mapping[str, str]], crowded: bool
) -> list[View]:
    """Return a leaderboard for each budget; that of the published settings comes first."""
    budgets = sorted({tags.get(BUDGET, PUBLISHED) for tags in runs} or {PUBLISHED})
    if len(budgets) == 1:
        return [_leaderboard(metrics, runs, crowded, LEADERBOARD, "", _FINISHED)]

    budgets.sort(key=lambda budget: budget != PUBLISHED)
    return [
        _leaderboard(
            metrics,
            [tags for tags in runs if tags.get(BUDGET, PUBLISHED) == budget],
            crowded,
            f"{LEADERBOARD}-{budget.replace(' ', '-')}" if number else LEADERBOARD,
            f" ({budget})",
            f"{_FINISHED} and {tag(BUDGET)} = '{budget}'",
        )
        for number, budget in enumerate(budgets)
    ]


def _leaderboard(
    metrics: Collection[str],
    runs: Sequence[Mapping[str, str]],
    crowded: bool,
    key: str,
    budget: str,
    condition: str,
) -> View:
    columns = _logged([*_QUALITY, *_COSTS], metrics)
    names = grouping(runs)
    table = views.table_view(
        key,
        f"{_scope('Leaderboard', crowded)}{budget}: means over the seeds",
        condition,
        [metric(name) for name in columns],
        _order(crowded),
        ascending=crowded,
        group_by=names,
        folded=_groups(runs, names),
        widths={metric(ACCURACY.key): _ACCURACY_WIDTH},
    )

    accuracy = f"{ACCURACY.title} on the test set"
    others = [name for name in _QUALITY if name != ACCURACY.key]
    sections = {
        accuracy: _bars([ACCURACY.key], metrics),
        "Other quality measures": _bars(others, metrics),
        "Costs": _bars(_COSTS, metrics),
    }
    side_by_side = {accuracy: 1, "Other quality measures": 2}
    return views.with_charts(table, sections, side_by_side, metrics)


def _report() -> View:
    condition = f"{tag(KIND)} = '{REPORT}'"
    return views.table_view(
        REPORT_VIEW,
        "Report",
        condition,
        [tag(RESULT)],
        "attributes.start_time",
        widths={tag(RESULT): _RESULT_WIDTH},
    )


def _groups(runs: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the groups that runs form, each as the values of these tags."""
    return sorted({tuple(tags.get(name, "") for name in names) for tags in runs})


def _runs(metrics: Collection[str]) -> View:
    columns = [tag(name) for name in (TOP1, "method", "pair", "seed", BUDGET)]
    columns += [
        metric(name) for name in _logged([*_QUALITY, VALIDATION_ACCURACY, *_COSTS], metrics)
    ]
    columns += [views.dataset(), *(tag(name) for name in ("reason", "cell"))]
    return views.table_view(RUNS, "Runs", _RUNS, columns, metric(ACCURACY.key))


def _curves(metrics: Collection[str], runs: Sequence[Mapping[str, str]], crowded: bool) -> View:
    names = grouping(runs)
    table = views.table_view(
        CURVES,
        f"{_scope('Curves', crowded)}: means over the seeds",
        _RUNS,
        [metric(ACCURACY.key)],
        _order(crowded),
        ascending=crowded,
        group_by=names,
        folded=_groups(runs, names),
        widths={metric(ACCURACY.key): _ACCURACY_WIDTH},
    )

    title = "Over the epochs"
    lines = [views.line(name) for name in _logged(_OVER_EPOCHS, metrics)]
    return views.with_charts(table, {title: lines}, {title: 1}, metrics)


def _order(crowded: bool) -> str:
    return tag("method") if crowded else metric(ACCURACY.key)


def _scope(title: str, crowded: bool) -> str:
    return f"First {PAGE_SIZE} runs" if crowded else title


def _bars(names: Sequence[str], metrics: Collection[str]) -> list[views.Chart]:
    return [views.bar(name) for name in _logged(names, metrics)]


def _logged(names: Sequence[str], metrics: Collection[str]) -> list[str]:
    """Return the metrics in a list that any run has logged."""
    return [name for name in names if name in metrics]
