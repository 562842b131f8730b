"""Accuracy over cost: latency, parameters and training compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.measures import BY_COLUMN
from benchmark.report.figures.axes import tick_label
from benchmark.report.figures.base import FigureKind, Tables
from benchmark.report.figures.labels import LINE_HEIGHT, Point, place_labels
from benchmark.report.figures.style import (
    DARK,
    FIGURE_TITLE,
    GREEN,
    GREY,
    PANEL_TITLE,
    SMALL,
    VERMILION,
    Layout,
    add_title,
    colour_of,
    extra_height,
    panel_grid,
    styled,
    text_width,
    tidy,
    wrap_text,
    wrap_title,
)
from benchmark.study.plan import TEACHER, Plan

COSTS = ("latency_ms", "params", "compute_tmac")
"""Costs on the horizontal axes."""

_WIDEST = 11.0
"""Maximum total width of panels side by side, in inches."""

_LEADER = "#999999"


@dataclass(frozen=True)
class _Panel:
    """The content of a panel: the rows of a pair over a cost.

    Attributes:
        pair: Name of the pair.
        cost: Column of the cost.
        rows: The rows.
        unequal: Methods that have a recipe of their own, and are not compared with the others.
    """

    pair: str
    cost: str
    rows: pd.DataFrame
    unequal: frozenset[str]

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto-optimal rows among those with the study's recipe, by increasing cost."""
        compared = self.rows[~self.rows["method"].isin(self.unequal)]
        points = list(zip(compared[self.cost], compared["acc1"], strict=True))
        return compared.iloc[pareto_front(points)]


@styled
def draw(tables: Tables) -> Figure | None:
    """Draw a panel per pair and cost, in which a line joins the Pareto-optimal rows.

    Latency is a property of the network at inference, so rows of a pair with equal parameters and
    MACs share the median of their latencies.

    Returns:
        The figure, or None if no cost is known.
    """
    plan = tables.plan
    points = _with_costs(tables.board, tables.costs)
    costs = [cost for cost in COSTS if points[cost].notna().any()]
    pairs = [pair for pair in plan.pairs if (points["pair"] == pair).any()]
    if not costs or not pairs:
        return None

    contents = []
    for pair in pairs:
        of_pair = points[points["pair"] == pair]
        unequal = frozenset(plan.overrides)
        contents += [_Panel(pair, cost, of_pair[of_pair[cost].notna()], unequal) for cost in costs]

    layout = _layout(pairs, contents, max(map(text_width, points["method"])), plan)
    figure = Figure(figsize=layout.size, layout="constrained", facecolor="white")
    panels = panel_grid(figure, layout.columns, len(contents))
    for index, (panel, content) in enumerate(zip(panels, contents, strict=True)):
        _draw_panel(panel, content, plan)
        if index % layout.columns == 0:
            panel.set_title(
                layout.titles[pairs.index(content.pair)], fontsize=PANEL_TITLE, loc="left"
            )
            panel.set_ylabel("Top-1 accuracy (%)", fontsize=SMALL)
    add_title(figure, layout.title)

    figure.draw_without_rendering()  # lays out the panels, so that labels can be placed
    for panel, content in zip(panels, contents, strict=True):
        if not content.rows.empty:
            _draw_labels(panel, content, plan)
    return figure


def _layout(
    pairs: Sequence[str], contents: Sequence[_Panel], longest_name: float, plan: Plan
) -> Layout:
    # Leaves room for a name beside a point in the middle of a panel.
    panel_width = max(2.9, 2 * longest_name + 1.0)
    columns = len(contents) // len(pairs)
    if panel_width * columns > _WIDEST:
        columns = 1
    width = columns * panel_width + 0.3
    title = wrap_title(f"{plan.study}: accuracy over cost", width)
    titles = [wrap_text(pair, width - 0.8, PANEL_TITLE) for pair in pairs]

    panel_height = 3.6 + max(extra_height(text, PANEL_TITLE) for text in titles)
    height = panel_height * len(contents) / columns + 0.3 + extra_height(title, FIGURE_TITLE)
    return Layout(width, height, columns, title, titles)


def _with_costs(board: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have an accuracy, with their costs."""
    rows = board[["pair", "method", "n", "acc1", "params", "macs", "compute_tmac"]]
    latencies = costs[["pair", "method", "latency_ms"]]
    points = rows.merge(latencies, on=["pair", "method"], how="left")

    of_network = points.groupby(["pair", "params", "macs"])["latency_ms"].transform("median")
    points["latency_ms"] = of_network.where(of_network.notna(), points["latency_ms"])
    return points[points["n"] > 0]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto-optimal (cost, accuracy) points, sorted by cost.

    Equal points are optimal together; accuracies are compared after rounding, as for ranks.
    """
    rounded = [(cost, round(accuracy, 9)) for cost, accuracy in points]
    by_cost = sorted(range(len(points)), key=lambda index: (rounded[index][0], -rounded[index][1]))

    front: list[int] = []
    best = (0.0, -math.inf)
    for index in by_cost:
        if rounded[index][1] > best[1]:
            best = rounded[index]
        if rounded[index] == best:
            front.append(index)
    return front


def _axis_title(cost: str, plan: Plan) -> str:
    title = BY_COLUMN[cost].title
    if cost == "compute_tmac" and plan.budgets:
        title += ",\nsearches not included"
    return title


def _draw_panel(panel: Axes, content: _Panel, plan: Plan) -> None:
    title = _axis_title(content.cost, plan)
    panel.set_xlabel(title, fontsize=SMALL)
    if content.rows.empty:
        tidy(panel, grid=None)
        _write_missing(panel)
        return

    front = content.front
    panel.plot(
        front[content.cost],
        front["acc1"],
        color=GREY,
        linewidth=1,
        drawstyle="steps-post",
        zorder=1,
    )
    bottom, top = _accuracy_range(content, plan)
    visible = content.rows[content.rows["acc1"] >= bottom]
    _draw_points(panel, visible, content, plan)

    costs = visible[content.cost]
    if costs.max() > 3 * costs.min() > 0:
        panel.set_xscale("log")
        panel.set_xlabel(f"{title}, log scale", fontsize=SMALL)
    panel.margins(x=0.28)
    panel.set_ylim(bottom, top)
    tidy(panel)

    ticks = _ticks(*panel.get_xlim(), panel.get_xscale() == "log")
    panel.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    panel.set_xticks([], minor=True)
    panel.autoscale(False)  # lines to labels must not move the points


def _write_missing(panel: Axes) -> None:
    panel.text(
        0.5,
        0.5,
        "not measured",
        fontsize=SMALL,
        ha="center",
        color=GREY,
        transform=panel.transAxes,
    )
    panel.set(xticks=[], yticks=[])


def _draw_points(panel: Axes, rows: pd.DataFrame, content: _Panel, plan: Plan) -> None:
    optimal = set(content.front["method"])
    for method, cost, accuracy in zip(
        rows["method"], rows[content.cost], rows["acc1"], strict=True
    ):
        colour = colour_of(method, plan)
        marker = {VERMILION: "s", GREEN: "D"}.get(colour, "o")
        inside = colour if method in optimal else "white"
        panel.plot(
            cost, accuracy, marker, color=colour, markerfacecolor=inside, markersize=5, zorder=3
        )


def _accuracy_range(content: _Panel, plan: Plan) -> tuple[float, float]:
    """Return a range around the accuracies of the teacher, the student alone and the front.

    A few failures must not compress the part of the axis that contains these accuracies.
    """
    rows = content.rows
    important = {TEACHER, plan.baseline, *content.front["method"]}
    accuracies = rows[rows["method"].isin(important)]["acc1"]
    low, high = float(accuracies.min()), float(accuracies.max())

    span = max(high - low, 2.0)
    lowest = float(rows["acc1"].min()) - 0.1 * span
    return max(low - span, lowest), high + 0.1 * span


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Return at most five round values on an axis."""
    if not logarithmic:
        values = MaxNLocator(4).tick_values(low, high)
        return [float(value) for value in values if low <= value <= high]

    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 5:
            return inside
    return inside[:: math.ceil(len(inside) / 5)]


def _draw_labels(panel: Axes, content: _Panel, plan: Plan) -> None:
    """Write names beside the points.

    The names of the Pareto front, the teacher and the student alone are placed first, then the
    others where there is room. A remark counts the labels without room.
    """
    important = {*content.front["method"], TEACHER, plan.baseline}
    inside = content.rows[content.rows["acc1"] >= panel.get_ylim()[0]]

    pixels_per_point = panel.figure.dpi / 72
    values = inside[[content.cost, "acc1"]].to_numpy(float)
    positions = (panel.transData.transform(values) / pixels_per_point).tolist()
    points = [
        Point(method, x, y, method in important)
        for method, (x, y) in zip(inside["method"], positions, strict=True)
    ]
    left, bottom, right, top = (end / pixels_per_point for end in panel.bbox.extents)
    labels = place_labels(points, (left, bottom + LINE_HEIGHT, right + 4, top))

    def to_data(x: float, y: float) -> tuple[float, float]:
        pixels = (x * pixels_per_point, y * pixels_per_point)
        across, up = panel.transData.inverted().transform(pixels).tolist()
        return across, up

    for label in labels:
        if label.leader:
            (start_x, start_y), (end_x, end_y) = (to_data(*end) for end in label.leader)
            panel.plot([start_x, end_x], [start_y, end_y], color=_LEADER, linewidth=0.5, zorder=2)
        panel.text(
            *to_data(label.left, label.middle),
            label.point.name,
            fontsize=SMALL,
            va="center",
            color=DARK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
            zorder=4,
        )

    remarks = []
    if len(labels) < len(points):
        remarks.append(f"{len(points) - len(labels)} not labelled")
    if len(inside) < len(content.rows):
        remarks.append(f"{len(content.rows) - len(inside)} below the axis")
    panel.text(
        0.99,
        0.01,
        ", ".join(remarks),
        fontsize=SMALL,
        ha="right",
        color=GREY,
        transform=panel.transAxes,
    )


def caption(plan: Plan) -> str:
    """Return the caption of the figure."""
    return (
        "Accuracy over latency, parameters and compute; a line joins the Pareto-optimal rows "
        "(filled): no other row is as accurate at a lower cost, or more accurate at the same cost; "
        "a remark counts the points that have no room for a label or lie below the axis"
    )


FIGURE = FigureKind("pareto", "accuracy over cost", caption, draw, shows_measured_costs=True)
