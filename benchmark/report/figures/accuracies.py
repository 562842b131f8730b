"""The main picture of a leaderboard: a dot with its interval for each method, a panel for each pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from benchmark.leaderboard.rounding import plain
from benchmark.report.columns import Line, is_best, lines_by_pair, pair_title
from benchmark.report.figures.axes import beyond, limits, mark_beyond
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

_PLOT, _WIDEST = 3.1, 6.0
"""Inches that the title of an axis needs, and those of a panel over which no other stands beside it."""

_KEY = 1.75
"""Inches that an entry of the legend takes."""


def figure(board: pd.DataFrame, plan: Plan) -> Figure:
    """The main picture: a panel per pair, a dot with its 95 % interval per method, lines for teacher and student.

    A row without a rank has a hollow dot. Each panel has its own axis, which need not start at zero.
    """
    with matplotlib.rc_context(STYLE):
        pairs = lines_by_pair(board, plan)
        names = max(wide(method) for method in plan.methods) + 0.1
        room = names + _PLOT + 0.6
        across = 1 if room > _WIDEST else min(len(pairs), 2)
        down = math.ceil(len(pairs) / across)
        one = max(7.2 if across == 1 else 4.4, room)
        titles = [wrapped(pair_title(pair, plan), one - names - 0.3, 9) for pair, _ in pairs]
        study = heading(plan.study, across * one)
        tallest = (
            0.85
            + 0.25 * max(len(lines) for _, lines in pairs)
            + max(further(title, 9) for title in titles)
        )
        keys = _keys(board, plan)
        columns = min(len(keys), int(across * one / _KEY))
        below = 0.2 * math.ceil(len(keys) / max(columns, 1))
        size = (across * one, down * tallest + 0.5 + below + further(study, 11))
        drawn = Figure(
            figsize=size,
            layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05),
            facecolor="white",
        )
        panels = drawn.subplots(down, across, squeeze=False).flatten().tolist()
        for panel, title, (_, lines) in zip(panels, titles, pairs, strict=False):
            _draw(panel, title, lines, plan)
        for panel in panels[len(pairs) :]:
            panel.remove()
        drawn.suptitle(study, fontsize=11, fontweight="bold")
        if keys:
            drawn.legend(
                handles=keys, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
            )
    return drawn


def _axis(methods: Sequence[Line]) -> str:
    counts = [line["n"] for line in methods if line["n"]] or [0]
    low, high = min(counts), max(counts)
    shown = "mean and 95 % interval, " if high > 1 else ""
    return f"Top-1 accuracy (%), {shown}n = {low}" + (f" to {high}" if high > low else "")


def _draw(panel: Axes, title: str, lines: Sequence[Line], plan: Plan) -> None:
    methods = [line for line in lines if line["method"] != TEACHER]
    panel.set_title(title, fontsize=9, loc="left")
    panel.set_xlabel(_axis(methods), fontsize=8)
    for line in lines:
        if not line["n"]:
            continue
        if line["method"] == TEACHER:
            panel.axvline(line["acc1"], color=VERMILION, linestyle="--", linewidth=1, zorder=1)
        elif line["method"] in plan.alone:
            panel.axvline(
                line["acc1"], color=GREEN, linestyle=_line_of(line, plan), linewidth=1.2, zorder=1
            )
    panel.set_xlim(*limits(lines))
    for place, line in enumerate(methods):
        _draw_row(panel, place, line, colour_of(str(line["method"]), plan))
    panel.set_yticks(range(len(methods)), [str(line["method"]) for line in methods])
    panel.set_ylim(len(methods) - 0.5, -0.5)
    panel.tick_params(axis="both", labelsize=8)
    panel.tick_params(axis="y", length=0, pad=6)
    panel.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _line_of(line: Line, plan: Plan) -> Literal[":", "-."]:
    """Of the student alone: dotted with published settings, dash and dot where it was tuned."""
    return ":" if line["method"] == plan.baseline else "-."


def _draw_row(panel: Axes, place: int, line: Line, colour: str) -> None:
    across = panel.get_yaxis_transform()
    if not line["n"]:
        reason = f"0 of {line['planned']} cells finished" if line["planned"] else "not applicable"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        panel.text(
            0.01,
            place,
            reason,
            transform=across,
            va="center_baseline",
            color=GREY,
            fontsize=8,
            bbox=ground,
        )
        return
    if math.isfinite(line["ci_low"]):
        panel.plot(
            [line["ci_low"], line["ci_high"]], [place, place], color=colour, linewidth=1.5, zorder=2
        )
    mark_beyond(panel, place, line, colour)
    inside: str = "white" if pd.isna(line["rank"]) else colour
    panel.plot(
        line["acc1"], place, "o", color=colour, markerfacecolor=inside, markersize=5.5, zorder=3
    )
    weight = "bold" if is_best(line) else "normal"
    value = plain(line["acc1"], 2)
    panel.text(
        1.015,
        place,
        value,
        transform=across,
        va="center_baseline",
        color=GREY,
        fontsize=8,
        fontweight=weight,
    )


def _keys(board: pd.DataFrame, plan: Plan) -> list[Line2D]:
    drawn = board[board["n"] > 0]
    methods = drawn[drawn["method"] != TEACHER]
    keys = []
    if (drawn["method"] == TEACHER).any():
        keys.append(Line2D([], [], color=VERMILION, linestyle="--", linewidth=1, label="teacher"))
    for line in methods.drop_duplicates("method").to_dict("records"):
        if line["method"] in plan.alone:
            label = "student alone" if line["method"] == plan.baseline else "student alone, tuned"
            keys.append(
                Line2D(
                    [], [], color=GREEN, linestyle=_line_of(line, plan), linewidth=1.2, label=label
                )
            )
    shown = [
        (line, limits(lines))
        for _, lines in lines_by_pair(board, plan)
        for line in lines
        if line["n"]
    ]
    unranked = [
        (line, ends) for line, ends in shown if line["method"] != TEACHER and pd.isna(line["rank"])
    ]
    if any(ends[0] <= line["acc1"] <= ends[1] for line, ends in unranked):
        hollow = Line2D(
            [], [], color=GREY, marker="o", markerfacecolor="white", linestyle="", label="no rank"
        )
        keys.append(hollow)
    if any(beyond(line, ends) for line, ends in shown):
        keys.append(
            Line2D([], [], color=GREY, marker="<", linestyle="", label="goes on beyond the axis")
        )
    return keys
