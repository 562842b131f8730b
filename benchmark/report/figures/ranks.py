"""Critical-difference diagram of mean ranks over pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.leaderboard.ranking import friedman_groups
from benchmark.leaderboard.rounding import plain
from benchmark.leaderboard.statistics import SIGNIFICANCE, critical_difference, friedman
from benchmark.report.figures.style import GREEN, GREY, STYLE, colour_of, further, heading, wide
from benchmark.study.plan import Plan


def ranks(board: pd.DataFrame, plan: Plan) -> Figure | None:
    """Critical-difference diagram: mean ranks over pairs, and bars over methods that Nemenyi's test can't tell apart.

    A panel per number of trials. Where Friedman's test finds no difference one bar joins all, as none is claimed. None
    where there are too few pairs or ranked methods for the tests. Source: Demsar, Statistical Comparisons of
    Classifiers over Multiple Data Sets, 2006, section 3.2.4.
    """
    groups = friedman_groups(board, plan)
    if not groups:
        return None
    found = board[board["mean_rank"].notna()].groupby("method")["mean_rank"].first()
    diagrams = [_Ranks.of({name: float(found[name]) for name in means}, means, trials, plan)
                for trials, means in groups.items()]  # fmt: skip
    label = max(wide(text) for one in diagrams for text in one.labels) + 0.25
    width = 4.6 + 2 * label
    study = heading(f"{plan.study}: mean ranks", width)
    top = sum(one.lines * _ROW for one in diagrams)
    tall = top + 0.35 + further(study, 11)
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, tall), facecolor="white")
        for one in diagrams:
            top -= one.lines * _ROW
            box = (label / width, top / tall, 4.6 / width, one.lines * _ROW / tall)
            draw_ranks(drawn.add_axes(box), one, plan)
        drawn.suptitle(study, fontsize=11, fontweight="bold", y=1 - 0.1 / tall, va="top")
    return drawn


@dataclass(frozen=True)
class _Ranks:
    """What one diagram shows: methods by rising mean rank, and the places (first, last, level) of its bars."""

    methods: Sequence[str]
    means: Sequence[float]
    bars: Sequence[tuple[int, int, int]]
    difference: float
    told: str

    @classmethod
    def of(
        cls,
        found: Mapping[str, float],
        accuracies: Mapping[str, Sequence[float]],
        trials: int,
        plan: Plan,
    ) -> _Ranks:
        methods = sorted(found, key=lambda name: (found[name], plan.methods.index(name)))
        means = [found[name] for name in methods]
        difference, p = critical_difference(len(means), len(plan.pairs)), friedman(accuracies)[1]
        shown = "< 0.001" if p < 0.001 else f"= {p:.3f}"
        tuned = f"Rows tuned with {trials} trials. " if trials else ""
        if p < SIGNIFICANCE:
            told = f"{tuned}Friedman's test: p {shown}.\nBars join methods that do not differ at the 5 % level (Nemenyi)."
            return cls(methods, means, _levels(joined(means, difference), means), difference, told)
        told = f"{tuned}Friedman's test finds no difference: p {shown}.\nSo none is claimed, and the bar joins all."
        return cls(methods, means, [(0, len(means) - 1, 0)], difference, told)

    @property
    def labels(self) -> list[str]:
        return [
            f"{name} ({plain(mean, 2)})"
            for name, mean in zip(self.methods, self.means, strict=True)
        ]

    @property
    def first_label(self) -> float:
        """Rows between the axis and the highest label."""
        return 0.6 + 0.5 * (1 + max((level for *_, level in self.bars), default=0))

    @property
    def lines(self) -> float:
        """The height of the diagram in rows."""
        return _ABOVE + self.first_label + math.ceil(len(self.methods) / 2) + 2.0


_ROW, _ABOVE = 0.21, 4.3
"""Inches of a row of a diagram of ranks, and rows above its axis."""


def joined(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The longest runs (first, last) of rising mean ranks whose ends are no more than a difference apart."""
    runs: list[tuple[int, int]] = []
    for first, mean in enumerate(means):
        last = max(place for place, other in enumerate(means) if other - mean <= difference)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _levels(runs: Sequence[tuple[int, int]], means: Sequence[float]) -> list[tuple[int, int, int]]:
    """Each run with the highest level at which it leaves a space to the bars before it."""
    ends: list[float] = []
    bars = []
    for first, last in runs:
        free = [level for level, end in enumerate(ends) if means[first] - end > 0.05 * len(means)]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [means[last]]
        bars.append((first, last, level))
    return bars


def draw_ranks(panel: Axes, shown: _Ranks, plan: Plan) -> None:
    """The axis at height 0, the bars and then the labels below it, one row each; better half left, worse half right."""
    count = len(shown.methods)
    margin = 0.04 * (count - 1)
    low, high = 1 - margin, count + margin
    panel.set_xlim(low, high)
    panel.set_ylim(shown.lines - _ABOVE, -_ABOVE)
    panel.axis("off")
    panel.plot(
        [1, count], [0, 0], color="black", linewidth=1, solid_capstyle="projecting", zorder=2
    )
    for tick in range(1, count + 1, math.ceil(count / 12)):
        panel.plot([tick, tick], [-0.3, 0], color="black", linewidth=1, zorder=2)
        panel.text(tick, -0.45, str(tick), ha="center", va="bottom", fontsize=8)
    title = f"mean rank over {len(plan.pairs)} pairs (left is better)"
    panel.text((1 + count) / 2, -1.5, title, ha="center", va="bottom", fontsize=8)
    end = 1 + shown.difference
    panel.plot(
        [1, 1, 1, end, end, end], [-3.4, -2.8, -3.1, -3.1, -2.8, -3.4], color=GREY, linewidth=1
    )
    panel.text(
        end + 0.5 * margin,
        -3.1,
        f"critical difference {shown.difference:.2f}",
        va="center",
        fontsize=8,
        color=GREY,
    )
    half = math.ceil(count / 2)
    for place, (method, mean, label) in enumerate(
        zip(shown.methods, shown.means, shown.labels, strict=True)
    ):
        left = place < half
        down = shown.first_label + (place if left else count - 1 - place)
        edge, colour = (low if left else high), colour_of(method, plan)
        panel.plot([mean, mean, edge], [0, down, down], color=colour, linewidth=0.9, zorder=1)
        panel.plot(mean, 0, "D" if colour == GREEN else "o", color=colour, markersize=4.5, zorder=4)
        panel.annotate(label, (edge, down), (-4 if left else 4, 0), textcoords="offset points", fontsize=8,
                       ha="right" if left else "left", va="center_baseline", color="#222222")  # fmt: skip
    for first, last, level in shown.bars:
        ends, down = (shown.means[first], shown.means[last]), 0.55 + 0.5 * level
        reach = 0.012 * (count - 1)
        panel.plot([ends[0] - reach, ends[1] + reach], [down, down], color="black", linewidth=3.2,
                   solid_capstyle="butt", zorder=3)  # fmt: skip
    panel.text(
        (1 + count) / 2,
        shown.lines - _ABOVE - 0.4,
        shown.told,
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=GREY,
    )
