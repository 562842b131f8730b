"""Further pictures of a leaderboard: gains and ranks over pairs, and how the networks learned.

Purple to orange shows differences: colour-blind readers tell these apart, as they do the colours of `look`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.findings import ranked_together, reference
from benchmark.look import BLUE, GREEN, GREY, STYLE, VERMILION, colour_of, further, heading, wide, wrapped
from benchmark.plan import TEACHER, Plan
from benchmark.rounding import plain, signed
from benchmark.statistics import SIGNIFICANCE, critical_difference, friedman

CURVES = ((BLUE, "o"), ("#E69F00", "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), (VERMILION, "P"))
"""Colour and mark of a curve, so that none is told by its colour alone."""


def heatmap(board: pd.DataFrame, plan: Plan) -> Figure | None:
    """Differences to the student alone, methods by pairs, best mean on top; None under two pairs or without them."""
    rows = board[~board["method"].isin({TEACHER, *plan.alone})]
    table = rows.pivot(index="method", columns="pair", values="vs_student").reindex(columns=list(plan.pairs))
    if len(plan.pairs) < 2 or not table.notna().any(axis=None):
        return None
    order = {method: place for place, method in enumerate(plan.methods)}
    mean = table.mean(axis=1)
    table = table.loc[sorted(table.index, key=lambda name: (-mean[name] if mean.notna()[name] else 1e9, order[name]))]
    largest = max(abs(value) for value in table.to_numpy().ravel() if math.isfinite(value)) or 1.0
    longest = max(map(wide, plan.pairs))  # of the names that stand at 30 degrees
    cells = min(1.15 * len(plan.pairs), max(6.0, 0.62 * len(plan.pairs)))
    width = cells + max(2.6, 1.5 + max(*map(wide, table.index), 0.9 * longest - cells / len(plan.pairs) / 2))
    study, tall = heading(plan.study, width), max(1.3, 0.27 * len(table))
    with matplotlib.rc_context(STYLE):
        size = (width, tall + max(1.5, 0.75 + longest / 2) + further(study, 11))
        drawn = Figure(figsize=size, layout="constrained", facecolor="white")
        panel = drawn.subplots()
        colours = matplotlib.colormaps["PuOr_r"].with_extremes(bad="#eeeeee")
        shown = panel.imshow(table.to_numpy(), cmap=colours, vmin=-largest, vmax=largest, aspect="auto")
        panel.set_xticks(range(len(plan.pairs)), list(plan.pairs), rotation=30, ha="right", rotation_mode="anchor")
        panel.set_yticks(range(len(table)), [str(name) for name in table.index])
        for down, values in enumerate(table.to_numpy()):
            for across, value in enumerate(values):
                text = signed(value, 2) if math.isfinite(value) else "-"
                colour = "white" if math.isfinite(value) and _dark(list(map(float, shown.to_rgba(value)))) else "black"
                panel.text(across, down, text, ha="center", va="center_baseline", fontsize=8, color=colour)
        panel.tick_params(length=0, labelsize=8)
        panel.spines[:].set_visible(False)
        drawn.suptitle(study, fontsize=11, fontweight="bold")
        bar = drawn.colorbar(shown, ax=panel, fraction=0.06, pad=0.02)
        bar.set_label(wrapped(f"points against {reference(plan.methods, plan)}", tall), fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return drawn


def _dark(colour: Sequence[float]) -> bool:
    """Whether white letters read better on it than black ones, by the contrast of WCAG 2."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def ranks(board: pd.DataFrame, plan: Plan) -> Figure | None:
    """Critical-difference diagram: mean ranks over pairs, and bars over methods that Nemenyi's test can't tell apart.

    A panel per number of trials. Where Friedman's test finds no difference one bar joins all, as none is claimed. None
    where there are too few pairs or ranked methods for the tests. Source: Demsar, Statistical Comparisons of
    Classifiers over Multiple Data Sets, 2006, section 3.2.4.
    """
    groups = ranked_together(board, plan)
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
            _draw_ranks(drawn.add_axes(box), one, plan)
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
        cls, found: Mapping[str, float], accuracies: Mapping[str, Sequence[float]], trials: int, plan: Plan
    ) -> _Ranks:
        methods = sorted(found, key=lambda name: (found[name], plan.methods.index(name)))
        means = [found[name] for name in methods]
        difference, p = critical_difference(len(means), len(plan.pairs)), friedman(accuracies)[1]
        shown = "< 0.001" if p < 0.001 else f"= {p:.3f}"
        tuned = f"Rows tuned with {trials} trials. " if trials else ""
        if p < SIGNIFICANCE:
            told = (
                f"{tuned}Friedman's test: p {shown}.\nBars join methods that do not differ at the 5 % level (Nemenyi)."
            )
            return cls(methods, means, _levels(joined(means, difference), means), difference, told)
        told = f"{tuned}Friedman's test finds no difference: p {shown}.\nSo none is claimed, and the bar joins all."
        return cls(methods, means, [(0, len(means) - 1, 0)], difference, told)

    @property
    def labels(self) -> list[str]:
        return [f"{name} ({plain(mean, 2)})" for name, mean in zip(self.methods, self.means, strict=True)]

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


def _draw_ranks(panel: Axes, shown: _Ranks, plan: Plan) -> None:
    """The axis at height 0, the bars and then the labels below it, one row each; better half left, worse half right."""
    count = len(shown.methods)
    margin = 0.04 * (count - 1)
    low, high = 1 - margin, count + margin
    panel.set_xlim(low, high)
    panel.set_ylim(shown.lines - _ABOVE, -_ABOVE)
    panel.axis("off")
    panel.plot([1, count], [0, 0], color="black", linewidth=1, solid_capstyle="projecting", zorder=2)
    for tick in range(1, count + 1, math.ceil(count / 12)):
        panel.plot([tick, tick], [-0.3, 0], color="black", linewidth=1, zorder=2)
        panel.text(tick, -0.45, str(tick), ha="center", va="bottom", fontsize=8)
    title = f"mean rank over {len(plan.pairs)} pairs (left is better)"
    panel.text((1 + count) / 2, -1.5, title, ha="center", va="bottom", fontsize=8)
    end = 1 + shown.difference
    panel.plot([1, 1, 1, end, end, end], [-3.4, -2.8, -3.1, -3.1, -2.8, -3.4], color=GREY, linewidth=1)
    panel.text(
        end + 0.5 * margin, -3.1, f"critical difference {shown.difference:.2f}", va="center", fontsize=8, color=GREY
    )
    half = math.ceil(count / 2)
    for place, (method, mean, label) in enumerate(zip(shown.methods, shown.means, shown.labels, strict=True)):
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
        (1 + count) / 2, shown.lines - _ABOVE - 0.4, shown.told, ha="center", va="bottom", fontsize=7.5, color=GREY
    )


def named(board: pd.DataFrame, plan: Plan) -> dict[str, list[str]]:
    """The rows of each pair whose curves have names: the five with the highest means, then the student alone."""
    found = {}
    for pair in plan.pairs:
        rows = [str(name) for name in board[(board["pair"] == pair) & (board["n"] > 0)]["method"]]
        best = [name for name in rows if name != TEACHER and name not in plan.alone][: len(CURVES)]
        found[pair] = best + [name for name in rows if name in plan.alone]
    return found


def curves(histories: pd.DataFrame, board: pd.DataFrame, plan: Plan) -> Figure | None:
    """Validation accuracy by epoch, a panel per pair: mean over seeds, of the `named` rows their range too.

    The others are grey; the legend counts those without values. None where no row has values.
    """
    finished = board[(board["n"] > 0) & (board["method"] != TEACHER)]
    histories = histories.merge(finished[["pair", "method"]])  # MLflow may hold others
    pairs = [pair for pair in plan.pairs if (histories["pair"] == pair).any()]
    if not pairs or histories["step"].nunique() < 2:
        return None
    shown = named(board, plan)
    longest = max(wide(_told(name, 99, 99.9, plan)) for pair in pairs for name in shown[pair]) + 0.6
    across = 1 if longest > 3.8 else min(len(pairs), 2)
    down = math.ceil(len(pairs) / across)
    one = max(7.2 if across == 1 else 4.5, longest + 1.0)
    columns = 2 if 2 * longest + 1.0 < one else 1
    titles = [wrapped(pair, one - 0.8, 9) for pair in pairs]
    study = heading(f"{plan.study}: validation accuracy", across * one)
    tall = (4.3 if columns == 2 else 4.8) + max(further(title, 9) for title in titles)
    with matplotlib.rc_context(STYLE):
        size = (across * one, tall * down + 0.4 + further(study, 11))
        drawn = Figure(figsize=size, layout="constrained", facecolor="white")
        panels = drawn.subplots(down, across, squeeze=False).flatten().tolist()
        looks: dict[str, tuple[str, str]] = {}
        for panel, pair, title in zip(panels, pairs, titles, strict=False):
            looks |= _looks([name for name in shown[pair] if name not in plan.alone], looks)
            of_pair = {name: looks.get(name, (GREEN, "")) for name in shown[pair]}
            values, rows = histories[histories["pair"] == pair], (finished["pair"] == pair).sum()
            _draw_curves(panel, values, int(rows), plan, of_pair, columns)
            panel.set_title(title, fontsize=9, loc="left")
        for panel in panels[len(pairs) :]:
            panel.remove()
        drawn.suptitle(study, fontsize=11, fontweight="bold")
    return drawn


def _told(name: str, seeds: int, last: float, plan: Plan) -> str:
    return f"{'student alone' if name == plan.baseline else name} (n = {seeds}, last {plain(last, 1)})"


def _looks(best: Sequence[str], before: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Colour and mark of the best methods of a pair; one that had its own on another pair keeps it where it can."""
    found: dict[str, tuple[str, str]] = {}
    for name in best:
        if name in before and before[name] not in found.values():
            found[name] = before[name]
    free = [look for look in CURVES if look not in found.values()]
    return found | dict(zip([name for name in best if name not in found], free, strict=False))


def _draw_curves(
    panel: Axes,
    histories: pd.DataFrame,
    finished: int,
    plan: Plan,
    looks: Mapping[str, tuple[str, str]],
    columns: int,
) -> None:
    known = {str(name): part for name, part in histories.groupby("method")}
    grey = [name for name in plan.methods if name in known and name not in looks]
    for name in (*grey, *(name for name in looks if name in known)):
        by_epoch = known[name].groupby("step")["value"]
        mean = by_epoch.mean()
        if name in grey:
            label = f"{len(grey)} other{'s' * (len(grey) > 1)}" if name == grey[0] else None
            panel.plot(mean.index, mean, color="#c8c8c8", linewidth=0.7, zorder=1, label=label)
            continue
        colour, mark = looks[name]
        style = "--" if name == plan.baseline else ":" if name in plan.alone else "-"
        seeds = known[name]["seed"].nunique()
        label = _told(name, seeds, mean.iloc[-1], plan)
        every = max(1, len(mean) // 8)
        panel.plot(mean.index, mean, color=colour, linewidth=1.5, linestyle=style, zorder=3, label=label,
                   marker=mark, markersize=4, markevery=every)  # fmt: skip
        if seeds > 1:
            panel.fill_between(mean.index, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.15, linewidth=0)
    panel.set_xlabel("epoch; bands show the range of the seeds", fontsize=8)
    panel.set_ylabel("validation accuracy (%)", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    # Below the axis, where it covers no curve.
    keys = panel.get_legend_handles_labels()[0]
    if missing := finished - len(known):
        label = f"{missing} other{'s are' if missing > 1 else ' is'} not drawn"
        keys.append(Line2D([], [], linestyle="", label=label))
    panel.legend(
        handles=keys, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns
    )
