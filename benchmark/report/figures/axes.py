"""Limits of an accuracy axis, marks for values beyond them, and tick labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from benchmark.report.columns import Line

_LOWEST = -2.0
_HIGHEST = 102.0
"""Limits of an axis, even if an interval extends beyond the possible range."""


def limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the ends of an axis for means and intervals.

    The axis includes all of them, unless failures and their intervals would take up more than half
    of it; in that case, it begins near the lowest mean that is not a failure. A mean is a failure
    if it is below the lower quartile of the means by more than three times their interquartile
    range (Tukey's outer fence).
    """
    means: list[float] = []
    for line in lines:
        means += _finite(line, ("acc1",))
    means = sorted(means) or [0.0, 100.0]

    values = [*means]
    for line in lines:
        values += _finite(line, ("ci_low", "ci_high"))
    low = max(min(values), _LOWEST)
    high = min(max(values), _HIGHEST)

    lower, upper = np.quantile(means, (0.25, 0.75)).tolist()
    fence = lower - 3 * (upper - lower)
    lowest = next(mean for mean in means if mean >= fence)
    start = lowest - 0.25 * (high - lowest)
    if high - low > 2 * (high - start):
        low = start

    margin = 0.05 * (high - low) or 1.0
    return max(low - margin, _LOWEST), min(high + margin, _HIGHEST)


def _finite(line: Line, names: Sequence[str]) -> list[float]:
    return [line[name] for name in names if math.isfinite(line[name])]


def ends_passed(line: Line, ends: tuple[float, float]) -> list[float]:
    """Return the ends of an axis that the mean or interval of a row extends beyond."""
    low, high = ends
    values = _finite(line, ("acc1", "ci_low", "ci_high"))
    if not values:
        return []

    passed = []
    if min(values) < low:
        passed.append(low)
    if max(values) > high:
        passed.append(high)
    return passed


def mark_ends_passed(panel: Axes, y: float, line: Line, colour: str) -> None:
    """Draw an arrowhead at each end of the axis that a row extends beyond."""
    low, high = panel.get_xlim()
    for end in ends_passed(line, (low, high)):
        arrowhead = "<" if end == low else ">"
        panel.plot(end, y, arrowhead, color=colour, markersize=5, clip_on=False, zorder=3)


def tick_label(value: float) -> str:
    """Return the label of a tick, with an SI prefix if it is at least 1000: 1500 -> 1.5k."""
    if abs(value) >= 1000:
        return EngFormatter(sep="")(value)
    return f"{value:.4g}"
