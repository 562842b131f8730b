"""Saved views of MLflow's runs page: its columns and charts, packed into tags.

This module writes nothing. MLflow doesn't document the format of views; the one used here is the
one that version 3.17.2 reads. Code that writes a view must therefore tolerate failure, and nothing
depends on a view.
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
"""Prefix of the tags that store views."""

_COMPRESSED = "deflate;"
"""Prefix of a compressed state."""

Chart = dict[str, Any]

Axis = tuple[Literal["METRIC", "PARAM"], str]
"""The quantity on an axis of a chart, such as `("PARAM", "temperature")`."""

_EMPTY: dict[str, Any] = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": [],
    "columnOrder": [],
    "columnWidths": {},
    "runsHiddenMode": "SHOW_ALL",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {
        "xAxisKey": "step",
        "lineSmoothness": 0,
        "selectedXAxisMetricKey": "",
    },
}

_CHARTED_RUNS = 1000
"""Maximum number of runs in a chart."""

_RUN_NAME = "attributes.`Run Name`"
"""The column with the names of runs and groups."""

_CREATED = "runDateAndNestInfo"
"""The column with the age of a run."""

_FIXED_COLUMNS = (_RUN_NAME, _CREATED)
"""The columns that MLflow always shows on the left."""

_CREATED_WIDTH = 40
"""Width of the column with the age: enough for the run's status; it is empty for a group."""

_NAME_WIDTHS = (190, 250)
"""Least and greatest width, in pixels, of the column with the name of a run or a group.

With the greatest width, the next column is still visible in a window of 1000 pixels.
"""

_LEAST_WIDTH = 100
"""Minimum width of a column, in pixels."""


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        key: Unique key of the view; a view with the same key is replaced.
        name: Name of the view in MLflow's menu.
        state: Content of the view, in MLflow's format.
    """

    key: str
    name: str
    state: Mapping[str, Any]

    @property
    def tag(self) -> str:
        """Name of the experiment tag that stores the view."""
        return PREFIX + self.key


def metric(key: str) -> str:
    """Return the column name of a metric."""
    return f"metrics.`{key}`"


def param(key: str) -> str:
    """Return the column name of a param."""
    return f"params.`{key}`"


def tag(key: str) -> str:
    """Return the column name of a tag."""
    return f"tags.`{key}`"


def table_view(
    key: str,
    name: str,
    condition: str,
    columns: Sequence[str],
    order: str,
    *,
    ascending: bool = False,
    group_by: Sequence[str] = (),
    folded: Sequence[Sequence[str]] = (),
    widths: Mapping[str, int] | None = None,
) -> View:
    """Return a view with a table of runs.

    Args:
        key: Unique key of the view.
        name: Name of the view in MLflow's menu.
        condition: Search filter that selects the runs.
        columns: Column names from `metric`, `param` and `tag`.
        order: Column to sort the runs by.
        ascending: Whether the lowest value comes first.
        group_by: Tag names. Runs with equal values of these tags become one row with their means.
        folded: Groups to collapse initially, each given by its tag values.
        widths: Widths of columns in pixels; by default, the whole header is visible.
    """
    longest = max((len(", ".join(values)) for values in folded), default=0)
    fixed = {_RUN_NAME: _name_width(longest), _CREATED: _CREATED_WIDTH}
    default = {column: _width(column) for column in columns}

    groups = None
    if group_by:
        groups = {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": name} for name in group_by],
        }

    state = {
        "searchFilter": condition,
        "orderByKey": order,
        "orderByAsc": ascending,
        "selectedColumns": list(columns),
        "columnOrder": [*_FIXED_COLUMNS, *columns],
        "columnWidths": {**fixed, **default, **(widths or {})},
        "groupBy": groups,
        "groupsExpanded": {_group_id(group_by, values): False for values in folded},
    }
    return View(key, name, _EMPTY | state)


def _name_width(longest: int) -> int:
    """Return the width of the column with names, of which the longest has so many characters.

    Arrow, colour, the word `Group`, the name of the tag and the number of runs take 140 pixels.
    """
    least, greatest = _NAME_WIDTHS
    return min(max(140 + 7 * longest, least), greatest)


def _group_id(names: Sequence[str], values: Sequence[str]) -> str:
    """Return MLflow's id of a group."""
    pairs = zip(names, values, strict=True)
    return ",".join(f"tag.{name}.{value}" for name, value in pairs)


def _width(column: str) -> int:
    """Return the width in pixels at which the whole header is visible."""
    name = column.partition("`")[2].rstrip("`") or column
    return max(_LEAST_WIDTH, 7 * len(name) + 40)


def dataset() -> str:
    """Return the name of the column with the data sets of a run."""
    return "attributes.`Dataset`"


def with_charts(
    view: View,
    sections: Mapping[str, Sequence[Chart]],
    columns: Mapping[str, int] | None = None,
    metrics: Iterable[str] = (),
) -> View:
    """Add charts of a view's runs to the view.

    Args:
        view: A view that has only a table.
        sections: Charts by section title; sections without charts are dropped.
        columns: Number of charts per row, by section title; three by default.
        metrics: All metrics of the runs. MLflow adds a chart for every metric that the view doesn't
            mention, so metrics without a chart are listed as deleted.
    """
    filled = {title: members for title, members in sections.items() if members}
    layout: list[dict[str, Any]] = []
    charts: list[Chart] = []

    for number, (title, members) in enumerate(filled.items()):
        section_id = f"{view.key}-{number}"
        layout.append(_section(section_id, title, (columns or {}).get(title, 3)))
        for chart in members:
            chart_id = f"{view.key}-chart-{len(charts)}"
            charts.append({"uuid": chart_id, "metricSectionId": section_id, **chart})

    charted = {chart.get("metricKey") for chart in charts}
    for key in sorted(set(metrics) - charted):
        deleted = {"uuid": f"{view.key}-no-{key}", "metricSectionId": "", "deleted": True}
        charts.append(bar(key) | deleted)

    state = {
        "compareRunSections": layout,
        "compareRunCharts": charts,
        "isAccordionReordered": True,
    }
    return replace(view, state={**view.state, **state})


def _section(identity: str, title: str, columns: int) -> dict[str, Any]:
    return {
        "uuid": identity,
        "name": title,
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
        "columns": columns,
    }


def parallel(params: Sequence[str], metrics: Sequence[str]) -> Chart:
    """Return a parallel-coordinates chart with a line per run, coloured by the last metric."""
    return _chart(
        "PARALLEL", selectedParams=list(params), selectedMetrics=list(metrics), showAllRuns=True
    )


def scatter(x: Axis, y: Axis) -> Chart:
    """Return a scatter plot with one point per run."""
    return _chart("SCATTER", xaxis=_axis(x), yaxis=_axis(y))


def contour(x: Axis, y: Axis, z: Axis) -> Chart:
    """Return a contour plot; all axes must be numeric."""
    return _chart("CONTOUR", xaxis=_axis(x), yaxis=_axis(y), zaxis=_axis(z))


def line(key: str) -> Chart:
    """Return a chart of a metric over steps, with one curve per run."""
    return _chart(
        "LINE",
        metricKey=key,
        selectedMetricKeys=[key],
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        scaleType="linear",
        xAxisScaleType="linear",
        range={},
        ignoreOutliers=False,
        lineSmoothness=0,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def bar(key: str) -> Chart:
    """Return a chart of a metric's last value, with one bar per run."""
    return _chart("BAR", metricKey=key)


def _chart(kind: str, **content: Any) -> Chart:
    common = {
        "type": kind,
        "runsCountToCompare": _CHARTED_RUNS,
        "deleted": False,
        "isGenerated": False,
    }
    return common | content


def _axis(axis: Axis) -> dict[str, str]:
    kind, key = axis
    return {"key": key, "type": kind}


def pack(view: View, old: str | None, now: int) -> str:
    """Return the value of a view's tag.

    Args:
        view: The view.
        old: Current value of the tag, returned unchanged if it already stores the same view.
        now: Current time, in milliseconds since the Unix epoch.
    """
    saved = {} if old is None else unpack(old)
    if saved.get("name") == view.name and saved.get("state") == view.state:
        return str(old)

    text = json.dumps(view.state, sort_keys=True)
    compressed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()

    content = {
        "name": view.name,
        "createdAt": saved.get("createdAt", now),
        "updatedAt": now,
        "state": _COMPRESSED + compressed,
    }
    return json.dumps(content)


def unpack(value: str) -> dict[str, Any]:
    """Return the content of a view's tag: `name`, `createdAt`, `updatedAt` and `state`.

    The result is empty if the tag is in another format.
    """
    try:
        content: dict[str, Any] = json.loads(value)
        compressed = content["state"].removeprefix(_COMPRESSED)
        state = json.loads(zlib.decompress(base64.b64decode(compressed)))
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
        return {}

    return {**content, "state": state}


def address(base: str, experiment_id: str, key: str, *, charts: bool) -> str:
    """Return the address at which to open a view in a browser, without a password.

    Args:
        base: Address of MLflow's server.
        experiment_id: MLflow's id of the experiment.
        key: Key of the view.
        charts: Whether to open the charts rather than the table.
    """
    runs = addresses(base, experiment_id)["runs"]
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{runs}{mode}&viewStateShareKey={key}"
