"""The main figure: the mean and interval of each method, a panel per pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypedDict

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from benchmark.leaderboard.rounding import plain
from benchmark.report.columns import Line
from benchmark.report.figures.axes import ends_passed, limits, mark_ends_passed
from benchmark.report.figures.base import FigureKind, Tables
from benchmark.report.figures.style import (
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
from benchmark.report.tables import ACCURACIES_CAPTION, is_best, lines_by_pair, pair_title
from benchmark.study.plan import TEACHER, Plan
from benchmark.wording import counted

_PLOT_WIDTH = 3.1
"""Width of the accuracy axis title, in inches."""

_SIDE_BY_SIDE = 6.0
"""Maximum width of a panel, in inches, for two panels side by side."""

_KEY_WIDTH = 1.75
"""Width of a legend entry, in inches."""

PairLines = Sequence[tuple[str, Sequence[Line]]]


@styled
def draw(tables: Tables) -> Figure:
    """Draw a panel per pair: a dot with its 95 % interval per method, lines for the references.

    The references are the teacher and the student alone. A row without a rank has a hollow dot.
    Each panel has its own axis, which need not start at zero.
    """
    plan = tables.plan
    pairs = lines_by_pair(tables.board, plan)
    keys = _legend_keys(pairs, plan)
    layout = _layout(pairs, len(keys), plan)

    figure = Figure(
        figsize=layout.size,
        layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05),
        facecolor="white",
    )
    panels = panel_grid(figure, layout.columns, len(pairs))
    for panel, title, (_, lines) in zip(panels, layout.titles, pairs, strict=True):
        panel.set_title(title, fontsize=PANEL_TITLE, loc="left")
        _draw_panel(panel, lines, plan)

    add_title(figure, layout.title)
    if keys:
        figure.legend(
            handles=keys,
            loc="outside lower center",
            ncols=layout.key_columns,
            frameon=False,
            fontsize=SMALL,
        )
    return figure


def _layout(pairs: PairLines, keys: int, plan: Plan) -> Layout:
    names = max(text_width(method) for method in plan.methods) + 0.1
    needed = names + _PLOT_WIDTH + 0.6
    columns = 1 if needed > _SIDE_BY_SIDE else min(len(pairs), 2)
    rows = math.ceil(len(pairs) / columns)

    panel_width = max(7.2 if columns == 1 else 4.4, needed)
    width = columns * panel_width
    title = wrap_title(plan.study, width)
    titles = [
        wrap_text(pair_title(pair, plan), panel_width - names - 0.3, PANEL_TITLE)
        for pair, _ in pairs
    ]

    most_lines = max(len(lines) for _, lines in pairs)
    title_height = max(extra_height(text, PANEL_TITLE) for text in titles)
    panel_height = 0.85 + 0.25 * most_lines + title_height

    key_columns = min(keys, int(width / _KEY_WIDTH))
    legend_height = 0.2 * math.ceil(keys / max(key_columns, 1))
    height = rows * panel_height + 0.5 + legend_height + extra_height(title, FIGURE_TITLE)
    return Layout(width, height, columns, title, titles, key_columns)


def _draw_panel(panel: Axes, lines: Sequence[Line], plan: Plan) -> None:
    methods = [line for line in lines if line["method"] != TEACHER]
    panel.set_xlabel(_axis_title(methods), fontsize=SMALL)

    for line in lines:
        if line["n"] and _is_reference(line, plan):
            panel.axvline(line["acc1"], zorder=1, **_reference_look(line, plan))
    panel.set_xlim(*limits(lines))
    for y, line in enumerate(methods):
        if line["n"]:
            _draw_row(panel, y, line, colour_of(str(line["method"]), plan))
        else:
            _draw_reason(panel, y, line)

    panel.set_yticks(range(len(methods)), [str(line["method"]) for line in methods])
    panel.set_ylim(len(methods) - 0.5, -0.5)
    tidy(panel, spines=["bottom"], grid="x")
    panel.tick_params(axis="y", length=0, pad=6)


def _axis_title(methods: Sequence[Line]) -> str:
    counts = [line["n"] for line in methods if line["n"]] or [0]
    low, high = min(counts), max(counts)
    shown = "mean and 95 % interval, " if high > 1 else ""
    seeds = f"{low} to {high}" if high > low else f"{low}"
    return f"Top-1 accuracy (%), {shown}n = {seeds}"


def _draw_row(panel: Axes, y: int, line: Line, colour: str) -> None:
    """Draw the mean and interval of a method, and its mean as a number on the right."""
    if math.isfinite(line["ci_low"]):
        interval = [line["ci_low"], line["ci_high"]]
        panel.plot(interval, [y, y], color=colour, linewidth=1.5, zorder=2)
    mark_ends_passed(panel, y, line, colour)

    inside: str = "white" if pd.isna(line["rank"]) else colour
    panel.plot(line["acc1"], y, "o", color=colour, markerfacecolor=inside, markersize=5.5, zorder=3)
    panel.text(
        1.015,
        y,
        plain(line["acc1"], 2),
        transform=panel.get_yaxis_transform(),
        va="center_baseline",
        color=GREY,
        fontsize=SMALL,
        fontweight="bold" if is_best(line) else "normal",
    )


def _draw_reason(panel: Axes, y: int, line: Line) -> None:
    """Write why a method has no mean."""
    reason = (
        f"0 of {counted(line['planned'], 'cell')} finished" if line["planned"] else "not applicable"
    )
    panel.text(
        0.01,
        y,
        reason,
        transform=panel.get_yaxis_transform(),
        va="center_baseline",
        color=GREY,
        fontsize=SMALL,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


class _Look(TypedDict):
    color: str
    linestyle: Literal["--", ":", "-."]
    linewidth: float


def _is_reference(line: Line, plan: Plan) -> bool:
    return line["method"] == TEACHER or line["method"] in plan.alone


def _reference_look(line: Line, plan: Plan) -> _Look:
    if line["method"] == TEACHER:
        return {"color": VERMILION, "linestyle": "--", "linewidth": 1}

    is_tuned = line["method"] != plan.baseline
    return {"color": GREEN, "linestyle": "-." if is_tuned else ":", "linewidth": 1.2}


def _reference_label(line: Line, plan: Plan) -> str:
    if line["method"] == TEACHER:
        return "teacher"
    return "student alone" if line["method"] == plan.baseline else "student alone, tuned"


def _legend_keys(pairs: PairLines, plan: Plan) -> list[Line2D]:
    """Return legend entries only for what the figure shows."""
    drawn = [(line, limits(lines)) for _, lines in pairs for line in lines if line["n"]]

    references: dict[str, _Look] = {}
    for line, _ in drawn:
        if _is_reference(line, plan):
            references.setdefault(_reference_label(line, plan), _reference_look(line, plan))
    keys = [Line2D([], [], label=label, **look) for label, look in references.items()]

    unranked = [
        (line, ends) for line, ends in drawn if line["method"] != TEACHER and pd.isna(line["rank"])
    ]
    if any(low <= line["acc1"] <= high for line, (low, high) in unranked):
        keys.append(_marker_key("o", "no rank", markerfacecolor="white"))
    if any(ends_passed(line, ends) for line, ends in drawn):
        keys.append(_marker_key("<", "extends beyond the axis"))
    return keys


def _marker_key(marker: str, label: str, markerfacecolor: str = GREY) -> Line2D:
    return Line2D(
        [],
        [],
        color=GREY,
        marker=marker,
        markerfacecolor=markerfacecolor,
        linestyle="",
        label=label,
    )


def caption(plan: Plan) -> str:
    """Return the caption of the figure."""
    return ACCURACIES_CAPTION


FIGURE = FigureKind("leaderboard", "accuracies", caption, draw)
