"""Further pictures of a leaderboard: gains and ranks over pairs, and how the networks learned.

Purple to orange shows differences: colour-blind readers tell these apart, as they do the colours of `look`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.leaderboard.rounding import plain
from benchmark.report.figures.style import (
    BLUE,
    GREEN,
    STYLE,
    VERMILION,
    further,
    heading,
    wide,
    wrapped,
)
from benchmark.study.plan import TEACHER, Plan

CURVES = ((BLUE, "o"), ("#E69F00", "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), (VERMILION, "P"))
"""Colour and mark of a curve, so that none is told by its colour alone."""


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
    return (
        f"{'student alone' if name == plan.baseline else name} (n = {seeds}, last {plain(last, 1)})"
    )


def _looks(
    best: Sequence[str], before: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[str, str]]:
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
            panel.fill_between(
                mean.index, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.15, linewidth=0
            )
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
        handles=keys,
        fontsize=8,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=columns,
    )
