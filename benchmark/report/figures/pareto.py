"""The picture of what accuracy costs: over latency, parameters and the compute of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.labels import LINE, Point, place
from benchmark.report.figures.style import (
    GREEN,
    GREY,
    STYLE,
    VERMILION,
    colour_of,
    further,
    heading,
    wide,
    wrapped,
)
from benchmark.study.plan import TEACHER, Plan

AXES = {
    "latency_ms": "latency (ms)",
    "params": "parameters",
    "compute_tmac": "compute of the training (TMAC)",
}
"""What accuracy is shown over, and how the axis is called."""

_WIDEST = 11.0
"""Inches that panels side by side may take."""


def draw(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan) -> Figure | None:
    """Accuracy over what a network and its training cost, panels for each pair; None where no cost is known.

    A line joins the rows that no other equals at less cost or beats at the same. Latency is a property of the network
    at inference, so rows of a pair with equal parameters and MACs share the median of their latencies.
    """
    points = _priced(board, costs)
    axes = [name for name in AXES if points[name].notna().any()]
    pairs = [pair for pair in plan.pairs if (points["pair"] == pair).any()]
    if not axes or not pairs:
        return None
    of_panels = [
        (pair, name, points[(points["pair"] == pair) & points[name].notna()])
        for pair in pairs
        for name in axes
    ]
    one = max(
        2.9, 2 * max(map(wide, points["method"])) + 1.0
    )  # a name has room beside a point in the middle
    across = len(axes) if one * len(axes) <= _WIDEST else 1
    width = across * one + 0.3
    titles = {pair: wrapped(pair, width - 0.8, 9) for pair in pairs}
    study = heading(f"{plan.study}: accuracy over cost", width)
    tall = 3.6 + max(further(title, 9) for title in titles.values())
    with matplotlib.rc_context(STYLE):
        size = (width, tall * len(of_panels) / across + 0.3 + further(study, 11))
        drawn = Figure(figsize=size, layout="constrained", facecolor="white")
        panels = drawn.subplots(len(of_panels) // across, across, squeeze=False).flatten().tolist()
        for number, (panel, (pair, name, rows)) in enumerate(zip(panels, of_panels, strict=True)):
            _draw_costs(panel, rows, name, plan)
            if number % across == 0:
                panel.set_title(titles[pair], fontsize=9, loc="left")
                panel.set_ylabel("Top-1 accuracy (%)", fontsize=8)
        drawn.suptitle(study, fontsize=11, fontweight="bold")
        drawn.draw_without_rendering()  # the labels need to know where the panels lie
        for panel, (_, name, rows) in zip(panels, of_panels, strict=True):
            _label(panel, rows, name, plan)
    return drawn


def _priced(board: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows with an accuracy and what they cost."""
    rows = board[["pair", "method", "n", "acc1", "params", "macs", "compute_tmac"]]
    points = rows.merge(costs[["pair", "method", "latency_ms"]], on=["pair", "method"], how="left")
    same = points.groupby(["pair", "params", "macs"])["latency_ms"].transform("median")
    points["latency_ms"] = same.where(same.notna(), points["latency_ms"])
    return points[points["n"] > 0]


def undominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points (cost, accuracy) that no other beats in one and equals in the other, by rising cost.

    Points that are equal in both are kept together; accuracies are compared as ranks compare them.
    """
    best, kept = (0.0, -math.inf), []
    rounded = [(cost, round(accuracy, 9)) for cost, accuracy in points]
    for number in sorted(
        range(len(points)), key=lambda number: (rounded[number][0], -rounded[number][1])
    ):
        if rounded[number][1] > best[1]:
            best = rounded[number]
        if rounded[number] == best:
            kept.append(number)
    return kept


def _front(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.iloc[undominated(list(zip(rows[name], rows["acc1"], strict=True)))]


def _draw_costs(panel: Axes, rows: pd.DataFrame, name: str, plan: Plan) -> None:
    title = AXES[name] + (
        ",\nwithout that of searches" if name == "compute_tmac" and plan.budgets else ""
    )
    panel.set_xlabel(title, fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    if rows.empty:
        panel.text(
            0.5, 0.5, "not measured", fontsize=8, ha="center", color=GREY, transform=panel.transAxes
        )
        panel.set(xticks=[], yticks=[])
        return
    front = _front(rows, name)
    window = _window(rows, front, plan)
    panel.plot(
        front[name], front["acc1"], color=GREY, linewidth=1, drawstyle="steps-post", zorder=1
    )
    shown = rows[rows["acc1"] >= window[0]]
    for method, cost, accuracy in zip(shown["method"], shown[name], shown["acc1"], strict=True):
        colour = colour_of(method, plan)
        marker = {VERMILION: "s", GREEN: "D"}.get(colour, "o")
        inside = colour if method in set(front["method"]) else "white"
        panel.plot(
            cost, accuracy, marker, color=colour, markerfacecolor=inside, markersize=5, zorder=3
        )
    if shown[name].max() > 3 * shown[name].min() > 0:
        panel.set_xscale("log")
        panel.set_xlabel(f"{title}, log scale", fontsize=8)
    panel.margins(x=0.28)
    panel.set_ylim(*window)
    panel.tick_params(axis="both", which="both", labelsize=8)
    ticks = _ticks(*panel.get_xlim(), panel.get_xscale() == "log")
    panel.set_xticks(ticks, [_short(tick) for tick in ticks])
    panel.set_xticks([], minor=True)
    panel.autoscale(False)  # lines to names must not move the points
    panel.grid(color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)


def _window(rows: pd.DataFrame, front: pd.DataFrame, plan: Plan) -> tuple[float, float]:
    """The accuracies about those of teacher, student alone and joined rows: a few failures must not crowd these."""
    shown = rows[rows["method"].isin({TEACHER, plan.baseline, *front["method"]})]["acc1"]
    low, high = float(shown.min()), float(shown.max())
    span = max(high - low, 2.0)
    return max(low - span, float(rows["acc1"].min()) - 0.1 * span), high + 0.1 * span


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """At most five round places of an axis."""
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            ticks = [
                step * 10.0**power
                for power in powers
                for step in steps
                if low <= step * 10.0**power <= high
            ]
            if len(ticks) <= 5:
                return ticks
        return ticks[:: math.ceil(len(ticks) / 5)]
    found = MaxNLocator(4).tick_values(low, high)
    return [float(tick) for tick in found if low <= tick <= high]


def _short(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{letter}"
    return f"{value:.4g}"


def _label(panel: Axes, rows: pd.DataFrame, name: str, plan: Plan) -> None:
    """Names beside the points: the joined ones, teacher and student alone first, others where there is room."""
    if rows.empty:
        return
    first = set(_front(rows, name)["method"]) | {TEACHER, plan.baseline}
    inside = rows[rows["acc1"] >= panel.get_ylim()[0]]
    scale = panel.figure.dpi / 72  # pixels of a point
    places = panel.transData.transform(inside[[name, "acc1"]].to_numpy(float)) / scale
    points = [
        Point(method, float(x), float(y), method in first)
        for method, (x, y) in zip(inside["method"], places, strict=True)
    ]
    ends = [float(end) / scale for end in panel.bbox.extents]
    found = place(points, (ends[0], ends[1] + LINE, ends[2] + 4, ends[3]))

    def data(x: float, y: float) -> tuple[float, float]:
        across, up = panel.transData.inverted().transform((x * scale, y * scale))
        return float(across), float(up)

    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
    for label in found:
        if label.leader:
            start, end = (data(*end) for end in label.leader)
            panel.plot(
                [start[0], end[0]], [start[1], end[1]], color="#999999", linewidth=0.5, zorder=2
            )
        where = data(label.left, label.middle)
        panel.text(
            *where,
            label.point.name,
            fontsize=8,
            va="center",
            color="#222222",
            bbox=ground,
            zorder=4,
        )
    told = [f"{len(points) - len(found)} without a name"] * (len(found) < len(points))
    told += [f"{len(rows) - len(inside)} below the axis"] * (len(inside) < len(rows))
    panel.text(
        0.99, 0.01, ", ".join(told), fontsize=8, ha="right", color=GREY, transform=panel.transAxes
    )
