"""Differences from the student alone, methods by pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from benchmark.leaderboard.headline import student_label
from benchmark.leaderboard.rounding import signed
from benchmark.report.figures.base import FigureKind, Tables
from benchmark.report.figures.style import (
    FIGURE_TITLE,
    SMALL,
    add_title,
    extra_height,
    styled,
    text_width,
    tidy,
    wrap_text,
    wrap_title,
)
from benchmark.study.plan import TEACHER, Plan

_COLOURS = "PuOr_r"
"""Purple to orange, which colour-blind readers can tell apart."""


@styled
def draw(tables: Tables) -> Figure | None:
    """Draw a field per method and pair, methods in order of decreasing mean difference.

    Returns:
        The figure, or None for a study of one pair or without differences.
    """
    plan = tables.plan
    differences = _differences(tables.board, plan)
    if len(plan.pairs) < 2 or not differences.notna().any(axis=None):
        return None

    width = _width(differences, plan)
    title = wrap_title(plan.study, width)
    height = max(1.3, 0.27 * len(differences))
    below = max(1.5, 0.75 + _longest_pair(plan) / 2)

    figure = Figure(
        figsize=(width, height + below + extra_height(title, FIGURE_TITLE)),
        layout="constrained",
        facecolor="white",
    )
    panel = figure.subplots()
    image = _draw_fields(panel, differences)
    panel.set_xticks(
        range(len(plan.pairs)), list(plan.pairs), rotation=30, ha="right", rotation_mode="anchor"
    )
    panel.set_yticks(range(len(differences)), [str(name) for name in differences.index])
    tidy(panel, spines=[], grid=None)
    panel.tick_params(length=0)
    add_title(figure, title)

    bar = figure.colorbar(image, ax=panel, fraction=0.06, pad=0.02)
    bar.set_label(wrap_text(_scale_title(plan), height), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def _differences(board: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return differences by method (rows, by decreasing mean) and pair (columns, in plan order)."""
    rows = board[~board["method"].isin({TEACHER, *plan.alone})]
    table = rows.pivot(index="method", columns="pair", values="vs_student")
    table = table.reindex(columns=list(plan.pairs))
    means = table.mean(axis=1)

    def order(method: str) -> tuple[float, int]:
        mean = float(means[method])
        return (-mean if math.isfinite(mean) else math.inf), plan.methods.index(method)

    return table.loc[sorted(table.index, key=order)]


def _longest_pair(plan: Plan) -> float:
    return max(map(text_width, plan.pairs))


def _width(differences: pd.DataFrame, plan: Plan) -> float:
    """Return the width in inches of the fields and the names beside or below them."""
    count = len(plan.pairs)
    fields = min(1.15 * count, max(6.0, 0.62 * count))
    slanting = 0.9 * _longest_pair(plan) - fields / count / 2  # at 30 degrees
    names = max(*map(text_width, differences.index), slanting)
    return fields + max(2.6, 1.5 + names)


def _draw_fields(panel: Axes, differences: pd.DataFrame) -> AxesImage:
    values = differences.to_numpy()
    largest = max(abs(value) for value in values.ravel() if math.isfinite(value)) or 1.0
    colours = matplotlib.colormaps[_COLOURS].with_extremes(bad="#eeeeee")
    image = panel.imshow(values, cmap=colours, vmin=-largest, vmax=largest, aspect="auto")

    grounds = image.to_rgba(values)
    for (y, x), value in np.ndenumerate(values):
        _write_value(panel, x, y, value, grounds[y, x].tolist())
    return image


def _write_value(panel: Axes, x: int, y: int, value: float, ground: Sequence[float]) -> None:
    text, colour = "-", "black"
    if math.isfinite(value):
        text = signed(value, 2)
        colour = "white" if _is_dark(ground) else "black"

    panel.text(x, y, text, ha="center", va="center_baseline", fontsize=SMALL, color=colour)


def _is_dark(colour: Sequence[float]) -> bool:
    """Return whether white text has more contrast on a colour than black text (WCAG 2).

    Args:
        colour: Red, green and blue from 0 to 1; further components are ignored.
    """
    red, green, blue = map(_linear, colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def _linear(part: float) -> float:
    """Return the linear intensity of an sRGB component."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _scale_title(plan: Plan) -> str:
    return f"points against {student_label(plan.methods, plan)}"


def caption(plan: Plan) -> str:
    """Return the caption of the figure, which names the row that others are compared with."""
    return f"Points against {student_label(plan.methods, plan)}, methods by pairs"


FIGURE = FigureKind("heatmap", "methods by pairs", caption, draw)
