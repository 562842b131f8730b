"""Mean ranks over pairs, as a critical-difference diagram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.leaderboard.ranking import friedman_groups
from benchmark.leaderboard.rounding import plain
from benchmark.leaderboard.statistics import SIGNIFICANCE, critical_difference, friedman
from benchmark.report.figures.base import FigureKind, Tables
from benchmark.report.figures.style import (
    DARK,
    FIGURE_TITLE,
    GREEN,
    GREY,
    SMALL,
    add_title,
    colour_of,
    extra_height,
    styled,
    text_width,
    wrap_title,
)
from benchmark.study.plan import Plan
from benchmark.wording import counted

_ROW = 0.21
"""Height of a row in inches. Heights within a diagram are in rows, and y points down."""

_ABOVE = 4.3
"""Height of the space above the axis, in rows."""

_AXIS_WIDTH = 4.6
"""Width of the diagram without the labels on both sides, in inches."""


@dataclass(frozen=True)
class Bar:
    """A bar that joins methods that do not differ.

    Attributes:
        first: Index of the first method.
        last: Index of the last method.
        level: Position below the axis, from 0; bars that would touch have different levels.
    """

    first: int
    last: int
    level: int


@dataclass(frozen=True)
class _Diagram:
    """The content of a diagram.

    Attributes:
        methods: Names, by increasing mean rank.
        means: Their mean ranks.
        bars: Bars over methods.
        difference: The critical difference.
        result: Result of the Friedman test, in words.
    """

    methods: Sequence[str]
    means: Sequence[float]
    bars: Sequence[Bar]
    difference: float
    result: str

    @property
    def labels(self) -> list[str]:
        """Names with mean ranks."""
        pairs = zip(self.methods, self.means, strict=True)
        return [f"{name} ({plain(mean, 2)})" for name, mean in pairs]

    @property
    def first_label(self) -> float:
        """Distance from the axis to the highest label, in rows."""
        levels = 1 + max((bar.level for bar in self.bars), default=0)
        return 0.6 + 0.5 * levels

    @property
    def height(self) -> float:
        """Height of the diagram, in rows."""
        return _ABOVE + self.first_label + math.ceil(len(self.methods) / 2) + 2.0


@styled
def draw(tables: Tables) -> Figure | None:
    """Draw a diagram per number of trials: mean ranks, and bars over methods that do not differ.

    Methods do not differ if their mean ranks are no further apart than Nemenyi's critical
    difference. Where the Friedman test finds no difference at all, a single bar joins all methods.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006, section
    3.2.4.

    Returns:
        The figure, or None if there are too few pairs or ranked methods for the tests.
    """
    plan = tables.plan
    diagrams = _diagrams(tables.board, plan)
    if not diagrams:
        return None

    label_width = 0.25 + max(text_width(label) for diagram in diagrams for label in diagram.labels)
    width = _AXIS_WIDTH + 2 * label_width
    title = wrap_title(f"{plan.study}: mean ranks", width)
    bottom = sum(diagram.height * _ROW for diagram in diagrams)
    height = bottom + 0.35 + extra_height(title, FIGURE_TITLE)

    figure = Figure(figsize=(width, height), facecolor="white")
    for diagram in diagrams:
        bottom -= diagram.height * _ROW
        panel = figure.add_axes(
            (
                label_width / width,
                bottom / height,
                _AXIS_WIDTH / width,
                diagram.height * _ROW / height,
            )
        )
        _draw_diagram(panel, diagram, plan)
    add_title(figure, title, y=1 - 0.1 / height, va="top")
    return figure


def _diagrams(board: pd.DataFrame, plan: Plan) -> list[_Diagram]:
    """Return a diagram per number of trials; only rows with equal budgets are compared."""
    ranked = board[board["mean_rank"].notna()]
    mean_ranks = ranked.groupby("method")["mean_rank"].first()
    return [
        _diagram({name: float(mean_ranks[name]) for name in accuracies}, accuracies, trials, plan)
        for trials, accuracies in friedman_groups(board, plan).items()
    ]


def _diagram(
    mean_ranks: Mapping[str, float],
    accuracies: Mapping[str, Sequence[float]],
    trials: int,
    plan: Plan,
) -> _Diagram:
    methods = sorted(mean_ranks, key=lambda name: (mean_ranks[name], plan.methods.index(name)))
    means = [mean_ranks[name] for name in methods]
    difference = critical_difference(len(means), len(plan.pairs))
    _, p = friedman(accuracies)

    p_text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    if p < SIGNIFICANCE:
        bars = _with_levels(joined(means, difference), means)
        result = (
            f"Friedman test: {p_text}.\n"
            "Bars join methods that do not differ at the 5 % level (Nemenyi)."
        )
    else:
        bars = [Bar(0, len(means) - 1, 0)]
        result = (
            f"Friedman test: {p_text}.\n"
            "One bar joins all methods, because the test finds no difference between them."
        )
    if trials:
        result = f"Rows tuned with {counted(trials, 'trial')}. {result}"
    return _Diagram(methods, means, bars, difference, result)


def joined(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the longest runs of methods, as (first, last), at most `difference` wide.

    Args:
        means: Mean ranks, increasing.
        difference: The critical difference.
    """
    runs: list[tuple[int, int]] = []
    for first, mean in enumerate(means):
        within = [index for index, other in enumerate(means) if other - mean <= difference]
        last = max(within)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _with_levels(runs: Sequence[tuple[int, int]], means: Sequence[float]) -> list[Bar]:
    """Convert runs to bars, each at the highest level where it touches no earlier bar."""
    gap = 0.05 * len(means)
    ends: list[float] = []  # by level
    bars = []
    for first, last in runs:
        free = [level for level, end in enumerate(ends) if means[first] - end > gap]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [means[last]]
        bars.append(Bar(first, last, level))
    return bars


def _draw_diagram(panel: Axes, diagram: _Diagram, plan: Plan) -> None:
    """Draw the axis at height 0, the bars, and below them the labels.

    The better half of the methods has its labels on the left, the other half on the right.
    """
    count = len(diagram.methods)
    margin = 0.04 * (count - 1)
    panel.set_xlim(1 - margin, count + margin)
    panel.set_ylim(diagram.height - _ABOVE, -_ABOVE)
    panel.axis("off")

    _draw_axis(panel, count, len(plan.pairs))
    _draw_critical_difference(panel, diagram.difference, 0.5 * margin)
    _draw_methods(panel, diagram, plan)
    for bar in diagram.bars:
        _draw_bar(panel, bar, diagram.means)
    panel.text(
        (1 + count) / 2,
        diagram.height - _ABOVE - 0.4,
        diagram.result,
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=GREY,
    )


def _draw_axis(panel: Axes, count: int, pairs: int) -> None:
    panel.plot(
        [1, count], [0, 0], color="black", linewidth=1, solid_capstyle="projecting", zorder=2
    )
    for tick in range(1, count + 1, math.ceil(count / 12)):
        panel.plot([tick, tick], [-0.3, 0], color="black", linewidth=1, zorder=2)
        panel.text(tick, -0.45, str(tick), ha="center", va="bottom", fontsize=SMALL)

    title = f"mean rank over {pairs} pairs (lower is better)"
    panel.text((1 + count) / 2, -1.5, title, ha="center", va="bottom", fontsize=SMALL)


def _draw_critical_difference(panel: Axes, difference: float, gap: float) -> None:
    """Draw a line as long as the critical difference, above the axis."""
    end = 1 + difference
    middle, top, bottom = -3.1, -3.4, -2.8
    panel.plot(
        [1, 1, 1, end, end, end],
        [top, bottom, middle, middle, bottom, top],
        color=GREY,
        linewidth=1,
    )
    panel.text(
        end + gap,
        middle,
        f"critical difference {difference:.2f}",
        va="center",
        fontsize=SMALL,
        color=GREY,
    )


def _draw_methods(panel: Axes, diagram: _Diagram, plan: Plan) -> None:
    """Draw a dot on the axis per method, and a line from it to the label."""
    count = len(diagram.methods)
    half = math.ceil(count / 2)
    low, high = panel.get_xlim()

    for index, label in enumerate(diagram.labels):
        on_left = index < half
        y = diagram.first_label + (index if on_left else count - 1 - index)
        edge = low if on_left else high
        mean = diagram.means[index]
        colour = colour_of(diagram.methods[index], plan)

        panel.plot([mean, mean, edge], [0, y, y], color=colour, linewidth=0.9, zorder=1)
        marker = "D" if colour == GREEN else "o"
        panel.plot(mean, 0, marker, color=colour, markersize=4.5, zorder=4)
        panel.annotate(
            label,
            (edge, y),
            (-4 if on_left else 4, 0),
            textcoords="offset points",
            fontsize=SMALL,
            ha="right" if on_left else "left",
            va="center_baseline",
            color=DARK,
        )


def _draw_bar(panel: Axes, bar: Bar, means: Sequence[float]) -> None:
    reach = 0.012 * (len(means) - 1)
    y = 0.55 + 0.5 * bar.level
    panel.plot(
        [means[bar.first] - reach, means[bar.last] + reach],
        [y, y],
        color="black",
        linewidth=3.2,
        solid_capstyle="butt",
        zorder=3,
    )


def caption(plan: Plan) -> str:
    """Return the caption of the figure."""
    return "Mean ranks over pairs; bars join methods that do not differ at the 5 % level (Nemenyi)"


FIGURE = FigureKind("ranks", "mean ranks", caption, draw)
