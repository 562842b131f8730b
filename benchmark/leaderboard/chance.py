"""Marks rows whose accuracy cannot be told from that of guessing."""

from __future__ import annotations

from benchmark.leaderboard.rows import PairRows, Row
from benchmark.leaderboard.statistics import share_interval


def chance_notes(row: Row, rows: PairRows) -> list[str]:
    """Return a note if a row may be no better than guessing.

    A guess among k equally likely classes is right in 100 / k percent of the cases. A row is marked
    if the interval of its mean reaches down to that level; a row with a single run is marked if its
    accuracy is not above it.

    Args:
        row: The row.
        rows: All rows of the pair, with the plan that knows the number of classes. Plans that were
            written by older versions do not know it.
    """
    classes = rows.plan.classes.get(rows.pair)
    accuracies = list(row.accuracies.values())
    if classes is None or not accuracies:
        return []

    chance = 100 / classes
    lowest = accuracies[0] if len(accuracies) == 1 else share_interval(accuracies)[0]
    if lowest > chance:
        return []

    what = "accuracy" if len(accuracies) == 1 else "interval"
    return [
        f"not shown to be better than chance: its {what} is not above {chance:.3g} %, the accuracy "
        f"of guessing among {classes} classes"
    ]
