"""Saved views of MLflow's page of runs: what its table and its charts show, packed as MLflow keeps them, in tags.

Nothing is written here. MLflow documents this format nowhere; it is as its version 3.17.2 reads it. So whoever writes a
view goes on where that fails, and nothing depends on one.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmark.tracking.server import addresses

PREFIX = "mlflow.sharedViewState."
_PACKED = "deflate;"
Chart = dict[str, Any]

Axis = tuple[Literal["METRIC", "PARAM"], str]
"""What a chart shows along an axis, for instance ("PARAM", "temperature")."""

_EMPTY: dict[str, Any] = {
    "searchFilter": "", "orderByKey": "attributes.start_time", "orderByAsc": False, "startTime": "ALL",
    "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs", "selectedColumns": [],
    "columnOrder": [], "columnWidths": {}, "runsHiddenMode": "SHOWALL", "viewMaximized": False, "runListHidden": False,
    "isAccordionReordered": False, "useGroupedValuesInCharts": True, "hideEmptyCharts": True, "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}  # fmt: skip

_MOST_RUNS = 1000

_FIRST = ("attributes.`Run Name`", "runDateAndNestInfo")
"""The columns that MLflow keeps at the left."""

_WIDE = 400
"""Pixels for the name of a group, which is made of tags."""


@dataclass(frozen=True)
class View:
    """A view under a key.  name: in MLflow's menu. charts: whether it opens with the charts, not with the table."""

    key: str
    name: str
    state: Mapping[str, Any]
    charts: bool = False

    @property
    def tag(self) -> str:
        """The tag of the experiment that holds it."""
        return PREFIX + self.key


def metric(key: str) -> str:
    """A metric, as a column or an order."""
    return f"metrics.`{key}`"


def param(key: str) -> str:
    """A setting, as a column or an order."""
    return f"params.`{key}`"


def tag(key: str) -> str:
    """A tag, as a column or an order."""
    return f"tags.`{key}`"


def table(
    key: str,
    name: str,
    where: str,
    columns: Sequence[str],
    order: str,
    ascending: bool = False,
    groups: Sequence[str] = (),
    folded: Sequence[Sequence[str]] = (),
) -> View:
    """The runs that meet a condition as a table.

    columns, order: of `metric`, `param` and `tag`. groups: tags; runs that agree in all of them become one line with
    their means. folded: groups, by their tags' values, whose runs are not shown below them at first.
    """
    grouped = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": group} for group in groups],
    }
    widths = {one: _width(one) for one in columns} | ({_FIRST[0]: _WIDE} if groups else {})
    state = {
        "searchFilter": where, "orderByKey": order, "orderByAsc": ascending, "selectedColumns": list(columns),
        "columnOrder": [*_FIRST, *columns], "columnWidths": widths,
        "groupBy": grouped if groups else None,
        "groupsExpanded": {_group(groups, values): False for values in folded},
    }  # fmt: skip
    return View(key, name, _EMPTY | state)


def _group(names: Sequence[str], values: Sequence[str]) -> str:
    """MLflow's identity of a group."""
    return ",".join(f"tag.{name}.{value}" for name, value in zip(names, values, strict=True))


def _width(column: str) -> int:
    """In pixels, so that the head can be read."""
    name = column.partition("`")[2].rstrip("`") or column
    return max(100, 7 * len(name) + 40)


def charted(
    view: View,
    sections: Mapping[str, Sequence[Chart]],
    columns: Mapping[str, int] | None = None,
    unwanted: Iterable[str] = (),
) -> View:
    """A view that opens with charts, in sections under titles, beside the same runs. Sections without charts drop out.

    columns: charts side by side, by title; three unless given. unwanted: metrics of the runs; without a word about them
    MLflow adds a chart of each.
    """
    places: list[dict[str, Any]] = []
    charts: list[Chart] = []
    for number, (title, members) in enumerate(
        (title, members) for title, members in sections.items() if members
    ):
        place = f"{view.key}-{number}"
        places.append(
            {
                "uuid": place, "name": title, "display": True, "isReordered": False, "deleted": False,
                "isGenerated": False, "columns": (columns or {}).get(title, 3),
            }
        )  # fmt: skip
        for one in members:
            charts.append(
                {"uuid": f"{view.key}-chart-{len(charts)}", "metricSectionId": place} | one
            )
    shown = {one.get("metricKey") for one in charts}
    for key in sorted(set(unwanted) - shown):
        charts.append(
            {"uuid": f"{view.key}-no-{key}", "metricSectionId": "", **bar(key), "deleted": True}
        )
    state = {"compareRunSections": places, "compareRunCharts": charts, "isAccordionReordered": True}
    return replace(view, state={**view.state, **state}, charts=True)


def parallel(params: Sequence[str], metrics: Sequence[str]) -> Chart:
    """Parallel coordinates: a line for each run through its settings and metrics, coloured by the last metric."""
    return _chart(
        "PARALLEL", selectedParams=list(params), selectedMetrics=list(metrics), showAllRuns=True
    )


def scatter(x: Axis, y: Axis) -> Chart:
    """A point for each run."""
    return _chart("SCATTER", xaxis=_axis(x), yaxis=_axis(y))


def contour(x: Axis, y: Axis, z: Axis) -> Chart:
    """Lines of equal height between the runs; all axes are numbers."""
    return _chart("CONTOUR", xaxis=_axis(x), yaxis=_axis(y), zaxis=_axis(z))


_PLAIN = {
    "xAxisKey": "step", "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [],
    "scaleType": "linear", "xAxisScaleType": "linear", "range": {}, "ignoreOutliers": False,
    "lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
}  # fmt: skip


def line(key: str) -> Chart:
    """A metric over the steps, a curve for each run."""
    return _chart("LINE", metricKey=key, selectedMetricKeys=[key], **_PLAIN)


def bar(key: str) -> Chart:
    """A metric's last value, a bar for each run."""
    return _chart("BAR", metricKey=key)


def _chart(kind: str, **content: Any) -> Chart:
    return {
        "type": kind,
        "runsCountToCompare": _MOST_RUNS,
        "deleted": False,
        "isGenerated": False,
        **content,
    }


def _axis(axis: Axis) -> dict[str, str]:
    kind, key = axis
    return {"key": key, "type": kind}


def pack(view: View, before: str | None, now: int) -> str:
    """The value of a view's tag.

    before: what the tag holds; it stays as it is where it says the same. now: time in milliseconds.
    """
    old = {} if before is None else unpack(before)
    if old.get("name") == view.name and old.get("state") == view.state:
        return str(before)
    packed = base64.b64encode(
        zlib.compress(json.dumps(view.state, sort_keys=True).encode(), 9)
    ).decode()
    content = {
        "name": view.name, "createdAt": old.get("createdAt", now), "updatedAt": now, "state": _PACKED + packed
    }  # fmt: skip
    return json.dumps(content)


def unpack(value: str) -> dict[str, Any]:
    """What a view's tag says: `name`, `createdAt`, `updatedAt` and `state`; nothing of one that is not understood."""
    try:
        content: dict[str, Any] = json.loads(value)
        state = zlib.decompress(base64.b64decode(content["state"].removeprefix(_PACKED)))
        return {**content, "state": json.loads(state)}
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
        return {}


def address(base: str, experiment_id: str, key: str, charts: bool) -> str:
    """Where a browser finds a view, without a password.  base: of MLflow's server."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{addresses(base, experiment_id)['runs']}{mode}&viewStateShareKey={key}"
