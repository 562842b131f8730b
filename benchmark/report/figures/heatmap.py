"""Differences to the student alone, methods by pairs, as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from benchmark.leaderboard.headline import student_label
from benchmark.leaderboard.rounding import signed
from benchmark.report.figures.style import STYLE, further, heading, wide, wrapped
from benchmark.study.plan import TEACHER, Plan


def heatmap(board: pd.DataFrame, plan: Plan) -> Figure | None:
    """Differences to the student alone, methods by pairs, best mean on top; None under two pairs or without them."""
    rows = board[~board["method"].isin({TEACHER, *plan.alone})]
    table = rows.pivot(index="method", columns="pair", values="vs_student").reindex(
        columns=list(plan.pairs)
    )
    if len(plan.pairs) < 2 or not table.notna().any(axis=None):
        return None
    order = {method: place for place, method in enumerate(plan.methods)}
    mean = table.mean(axis=1)
    table = table.loc[
        sorted(
            table.index, key=lambda name: (-mean[name] if mean.notna()[name] else 1e9, order[name])
        )
    ]
    largest = max(abs(value) for value in table.to_numpy().ravel() if math.isfinite(value)) or 1.0
    longest = max(map(wide, plan.pairs))  # of the names that stand at 30 degrees
    cells = min(1.15 * len(plan.pairs), max(6.0, 0.62 * len(plan.pairs)))
    width = cells + max(
        2.6, 1.5 + max(*map(wide, table.index), 0.9 * longest - cells / len(plan.pairs) / 2)
    )
    study, tall = heading(plan.study, width), max(1.3, 0.27 * len(table))
    with matplotlib.rc_context(STYLE):
        size = (width, tall + max(1.5, 0.75 + longest / 2) + further(study, 11))
        drawn = Figure(figsize=size, layout="constrained", facecolor="white")
        panel = drawn.subplots()
        colours = matplotlib.colormaps["PuOr_r"].with_extremes(bad="#eeeeee")
        shown = panel.imshow(
            table.to_numpy(), cmap=colours, vmin=-largest, vmax=largest, aspect="auto"
        )
        panel.set_xticks(
            range(len(plan.pairs)),
            list(plan.pairs),
            rotation=30,
            ha="right",
            rotation_mode="anchor",
        )
        panel.set_yticks(range(len(table)), [str(name) for name in table.index])
        for down, values in enumerate(table.to_numpy()):
            for across, value in enumerate(values):
                text = signed(value, 2) if math.isfinite(value) else "-"
                colour = (
                    "white"
                    if math.isfinite(value) and _dark(list(map(float, shown.to_rgba(value))))
                    else "black"
                )
                panel.text(
                    across, down, text, ha="center", va="center_baseline", fontsize=8, color=colour
                )
        panel.tick_params(length=0, labelsize=8)
        panel.spines[:].set_visible(False)
        drawn.suptitle(study, fontsize=11, fontweight="bold")
        bar = drawn.colorbar(shown, ax=panel, fraction=0.06, pad=0.02)
        bar.set_label(wrapped(f"points against {student_label(plan.methods, plan)}", tall), fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return drawn


def _dark(colour: Sequence[float]) -> bool:
    """Whether white letters read better on it than black ones, by the contrast of WCAG 2."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179
