"""Learning curves: validation accuracy by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.leaderboard.rounding import plain
from benchmark.report.figures.base import FigureKind, Tables
from benchmark.report.figures.style import (
    BLUE,
    FIGURE_TITLE,
    GREEN,
    PANEL_TITLE,
    SMALL,
    VERMILION,
    Layout,
    add_title,
    extra_height,
    panel_grid,
    styled,
    text_width,
    tidy,
    wrap_text,
    wrap_title,
)
from benchmark.study.plan import TEACHER, Plan
from benchmark.wording import counted

Look = tuple[str, str]
"""Colour and marker of a curve."""

LOOKS: tuple[Look, ...] = (
    (BLUE, "o"),
    ("#E69F00", "s"),
    ("#CC79A7", "^"),
    ("#56B4E9", "v"),
    (VERMILION, "P"),
)
"""Looks of labelled curves, which differ in both colour and marker."""

_STUDENT_ALONE: Look = (GREEN, "")
_OTHERS = "#c8c8c8"

_LONG_LABEL = 3.8
"""Width of a label, in inches, above which each row has only one panel."""


def labelled_rows(board: pd.DataFrame, plan: Plan) -> dict[str, list[str]]:
    """Return the rows of each pair that have a label: the five best, then the student alone.

    Only these need histories; the other curves are context.

    Args:
        board: The results.
        plan: The study's plan.
    """
    rows = {}
    for pair in plan.pairs:
        finished = board[(board["pair"] == pair) & (board["n"] > 0)]
        names = [str(name) for name in finished["method"] if name != TEACHER]
        best = [name for name in names if name not in plan.alone][: len(LOOKS)]
        rows[pair] = best + [name for name in names if name in plan.alone]
    return rows


@styled
def draw(tables: Tables) -> Figure | None:
    """Draw a panel per pair: means over the seeds, and the range for each row with a label.

    Curves without a label are grey. The legend counts the rows without a curve.

    Returns:
        The figure, or None if there are no values for at least two epochs.
    """
    if tables.histories is None:
        return None

    board, plan = tables.board, tables.plan
    finished = board[(board["n"] > 0) & (board["method"] != TEACHER)]
    histories = tables.histories.merge(finished[["pair", "method"]])  # MLflow may have other rows
    pairs = [pair for pair in plan.pairs if (histories["pair"] == pair).any()]
    if not pairs or histories["step"].nunique() < 2:
        return None

    labelled = labelled_rows(board, plan)
    layout = _layout(pairs, labelled, plan)
    figure = Figure(figsize=layout.size, layout="constrained", facecolor="white")
    panels = panel_grid(figure, layout.columns, len(pairs))

    looks: dict[str, Look] = {}
    for panel, pair, title in zip(panels, pairs, layout.titles, strict=True):
        history = histories[histories["pair"] == pair]
        rows = finished[finished["pair"] == pair]
        best = [name for name in labelled[pair] if name not in plan.alone]
        looks |= _looks(best, looks)
        of_pair = {name: looks.get(name, _STUDENT_ALONE) for name in labelled[pair]}

        panel.set_title(title, fontsize=PANEL_TITLE, loc="left")
        _draw_curves(panel, history, of_pair, plan)
        missing = len(rows) - history["method"].nunique()
        _draw_legend(panel, missing, layout.key_columns)
    add_title(figure, layout.title)
    return figure


def _layout(pairs: Sequence[str], labelled: Mapping[str, Sequence[str]], plan: Plan) -> Layout:
    labels = [_label(name, 99, 99.9, plan) for pair in pairs for name in labelled[pair]]
    key_width = max(map(text_width, labels)) + 0.6

    columns = 1 if key_width > _LONG_LABEL else min(len(pairs), 2)
    rows = math.ceil(len(pairs) / columns)
    panel_width = max(7.2 if columns == 1 else 4.5, key_width + 1.0)
    key_columns = 2 if 2 * key_width + 1.0 < panel_width else 1

    width = columns * panel_width
    title = wrap_title(f"{plan.study}: validation accuracy", width)
    titles = [wrap_text(pair, panel_width - 0.8, PANEL_TITLE) for pair in pairs]
    panel_height = 4.3 if key_columns == 2 else 4.8
    panel_height += max(extra_height(text, PANEL_TITLE) for text in titles)
    height = panel_height * rows + 0.4 + extra_height(title, FIGURE_TITLE)
    return Layout(width, height, columns, title, titles, key_columns)


def _label(name: str, seeds: int, last: float, plan: Plan) -> str:
    shown = "student alone" if name == plan.baseline else name
    return f"{shown} (n = {seeds}, last {plain(last, 1)})"


def _looks(best: Sequence[str], earlier: Mapping[str, Look]) -> dict[str, Look]:
    """Return the looks of the best methods of a pair, if possible the same as on earlier pairs."""
    looks: dict[str, Look] = {}
    for name in best:
        if name in earlier and earlier[name] not in looks.values():
            looks[name] = earlier[name]

    without = [name for name in best if name not in looks]
    free = [look for look in LOOKS if look not in looks.values()]
    return looks | dict(zip(without, free, strict=False))


def _draw_curves(
    panel: Axes, histories: pd.DataFrame, looks: Mapping[str, Look], plan: Plan
) -> None:
    by_method = {str(name): values for name, values in histories.groupby("method")}
    others = [name for name in plan.methods if name in by_method and name not in looks]
    for name in others:
        mean = by_method[name].groupby("step")["value"].mean()
        label = counted(len(others), "other") if name == others[0] else None
        panel.plot(mean.index, mean, color=_OTHERS, linewidth=0.7, zorder=1, label=label)

    for name, look in looks.items():
        if name in by_method:
            _draw_labelled(panel, name, by_method[name], look, plan)

    panel.set_xlabel("epoch; bands show the range over the seeds", fontsize=SMALL)
    panel.set_ylabel("validation accuracy (%)", fontsize=SMALL)
    panel.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    tidy(panel)


def _draw_labelled(panel: Axes, name: str, history: pd.DataFrame, look: Look, plan: Plan) -> None:
    by_epoch = history.groupby("step")["value"]
    mean = by_epoch.mean()
    seeds = history["seed"].nunique()
    # Seeds that a time limit stopped have fewer epochs, so the last mean may lack some of them.
    last = history.sort_values("step").groupby("seed")["value"].last().mean()
    colour, marker = look

    style = "-"
    if name in plan.alone:
        style = "--" if name == plan.baseline else ":"
    panel.plot(
        mean.index,
        mean,
        color=colour,
        linewidth=1.5,
        linestyle=style,
        zorder=3,
        label=_label(name, seeds, last, plan),
        marker=marker,
        markersize=4,
        markevery=max(1, len(mean) // 8),
    )
    if seeds > 1:
        panel.fill_between(
            mean.index, by_epoch.min(), by_epoch.max(), color=colour, alpha=0.15, linewidth=0
        )


def _draw_legend(panel: Axes, missing: int, columns: int) -> None:
    """Put the legend below the axis, where it covers no curve.

    Args:
        panel: The panel.
        missing: Number of rows without a curve.
        columns: Columns of the legend.
    """
    keys, _ = panel.get_legend_handles_labels()
    if missing:
        label = f"{counted(missing, 'other')} {'are' if missing > 1 else 'is'} not drawn"
        keys.append(Line2D([], [], linestyle="", label=label))

    panel.legend(
        handles=keys,
        fontsize=SMALL,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=columns,
    )


def caption(plan: Plan) -> str:
    """Return the caption of the figure."""
    return "Validation accuracy during training"


FIGURE = FigureKind("curves", "learning curves", caption, draw)
