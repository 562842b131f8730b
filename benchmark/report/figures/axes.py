"""Which accuracies an axis shows, and how it tells of those that it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.report.columns import Line

_LOWEST, _HIGHEST = -2.0, 102.0
"""An interval may leave the possible range; the axis does not."""


def limits(lines: Sequence[Line]) -> tuple[float, float]:
    """The ends of an axis for means and intervals.

    It holds all of them, unless failures and their intervals would take more than half of it: then it begins near the
    lowest mean that is no failure. A failure is further below the lower quartile of the means than three times their
    interquartile range (Tukey's outer fence).
    """
    means = sorted(line["acc1"] for line in lines if math.isfinite(line["acc1"])) or [0.0, 100.0]
    values = [
        line[name] for line in lines for name in ("ci_low", "ci_high") if math.isfinite(line[name])
    ]
    low, high = max(min([*means, *values]), _LOWEST), min(max([*means, *values]), _HIGHEST)
    lower, upper = _quartile(means, 0.25), _quartile(means, 0.75)
    kept = [mean for mean in means if mean >= lower - 3 * (upper - lower)]
    begin = kept[0] - 0.25 * (high - kept[0])
    if high - low > 2 * (high - begin):
        low = begin
    margin = 0.05 * (high - low) or 1.0
    return max(low - margin, _LOWEST), min(high + margin, _HIGHEST)


def _quartile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def beyond(line: Line, ends: tuple[float, float]) -> list[float]:
    """The ends of an axis beyond which a row's mean or interval goes on."""
    values = [line[name] for name in ("acc1", "ci_low", "ci_high") if math.isfinite(line[name])]
    return [ends[0]] * any(value < ends[0] for value in values) + [ends[1]] * any(
        value > ends[1] for value in values
    )


def mark_beyond(panel: Axes, place: int, line: Line, colour: str) -> None:
    """An arrowhead at each end of the axis beyond which the row goes on."""
    ends = panel.get_xlim()
    for end in beyond(line, ends):
        panel.plot(
            end,
            place,
            "<" if end == ends[0] else ">",
            color=colour,
            markersize=5,
            clip_on=False,
            zorder=3,
        )
