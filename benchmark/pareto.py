"""The picture of what accuracy costs: over latency, parameters and the compute of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.labels import LINE, Point, place
from benchmark.look import GREY, STYLE, colour_of
from benchmark.plan import TEACHER, Plan

AXES = {"latency_ms": "latency (ms)", "params": "parameters", "compute_tmac": "compute of the training (TMAC)"}
"""What accuracy is shown over, and how the axis is called."""


def draw(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan) -> Figure | None:
    """Accuracy over what a network and its training cost, a row of panels per pair; None where no cost is known.

    A line joins the rows that no other beats or equals at less cost. Latency is a property of the network at inference,
    so rows of a pair with equal parameters and MACs share the mean of their latencies.
    """
    points = _priced(board, costs)
    axes = [name for name in AXES if points[name].notna().any()]
    pairs = [pair for pair in plan.pairs if (points["pair"] == pair).any()]
    if not axes or not pairs:
        return None
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(2.9 * len(axes) + 0.3, 3.6 * len(pairs) + 0.3), layout="constrained", facecolor="white")
        panels = drawn.subplots(len(pairs), len(axes), squeeze=False)
        for line, pair in zip(panels, pairs, strict=True):
            for panel, name in zip(line, axes, strict=True):
                of_pair = points[(points["pair"] == pair) & points[name].notna()]
                _draw_costs(panel, of_pair, name, plan)
            line[0].set_title(pair, fontsize=9, loc="left")
            line[0].set_ylabel("Top-1 accuracy (%)", fontsize=8)
        drawn.suptitle(f"{plan.study}: accuracy over cost", fontsize=11, fontweight="bold")
        drawn.draw_without_rendering()  # the labels need to know where the panels lie
        for line, pair in zip(panels, pairs, strict=True):
            for panel, name in zip(line, axes, strict=True):
                _label(panel, points[(points["pair"] == pair) & points[name].notna()], name, plan)
    return drawn


def _priced(board: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows with an accuracy and what they cost."""
    rows = board[["pair", "method", "n", "acc1", "params", "macs", "compute_tmac"]]
    points = rows.merge(costs[["pair", "method", "latency_ms"]], on=["pair", "method"], how="left")
    same = points.groupby(["pair", "params", "macs"])["latency_ms"].transform("mean")
    points["latency_ms"] = same.where(same.notna(), points["latency_ms"])
    return points[points["n"] > 0]


def undominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points (cost, accuracy) that no other beats in one and equals in the other, by rising cost."""
    best, kept = -math.inf, []
    for number in sorted(range(len(points)), key=lambda number: (points[number][0], -points[number][1])):
        if points[number][1] > best:
            best = points[number][1]
            kept.append(number)
    return kept


def _front(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.iloc[undominated(list(zip(rows[name], rows["acc1"], strict=True)))]


def _draw_costs(panel: Axes, rows: pd.DataFrame, name: str, plan: Plan) -> None:
    front = _front(rows, name)
    window = _window(rows, front, plan)
    panel.plot(front[name], front["acc1"], color=GREY, linewidth=1, drawstyle="steps-post", zorder=1)
    shown = rows[rows["acc1"] >= window[0]]
    for method, cost, accuracy in zip(shown["method"], shown[name], shown["acc1"], strict=True):
        colour, marker = colour_of(method, plan), {TEACHER: "s", plan.baseline: "D"}.get(method, "o")
        inside = colour if method in set(front["method"]) else "white"
        panel.plot(cost, accuracy, marker, color=colour, markerfacecolor=inside, markersize=5, zorder=3)
    title = AXES[name]
    if shown[name].max() > 3 * shown[name].min() > 0:
        panel.set_xscale("log")
        title += ", log scale"
    panel.margins(x=0.28)
    panel.set_ylim(*window)
    panel.set_xlabel(title, fontsize=8)
    panel.tick_params(axis="both", which="both", labelsize=8)
    ticks = _ticks(*panel.get_xlim(), panel.get_xscale() == "log")
    panel.set_xticks(ticks, [_short(tick) for tick in ticks])
    panel.set_xticks([], minor=True)
    panel.grid(color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


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
            ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
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
            panel.plot([start[0], end[0]], [start[1], end[1]], color="#999999", linewidth=0.5, zorder=2)
        where = data(label.left, label.middle)
        panel.text(*where, label.point.name, fontsize=8, va="center", color="#222222", bbox=ground, zorder=4)
    told = [f"{len(points) - len(found)} without a name"] * (len(found) < len(points))
    told += [f"{len(rows) - len(inside)} below the axis"] * (len(inside) < len(rows))
    panel.text(0.99, 0.01, ", ".join(told), fontsize=8, ha="right", color=GREY, transform=panel.transAxes)
