"""Where the names of points stand in a panel: in columns beside their points, in the same order, none over another.

All lengths are points of typography; y rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures.style import wide

LINE = 10.0
"""What a line takes in height at a size of 8."""

_NEAR = 12.0
"""Points no further apart than this share a column of names."""

_MARK, _ASIDE, _LED, _REACH = 3.0, 7.0, 18.0, 16.0
"""Half a mark, from a point to its name, the same where lines lead there, and how far up or down a name may move."""

_SHIFTS = (0.0, 7.0, -7.0, 14.0, -14.0)
"""By which a column of names moves where those that are first have no room."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A point with a name.  first: named before others."""

    name: str
    x: float
    y: float
    first: bool = False

    @property
    def wide(self) -> float:
        """The length of the name."""
        return 72 * wide(self.name)

    @property
    def mark(self) -> Box:
        """What the point itself covers."""
        return self.x - _MARK, self.y - _MARK, self.x + _MARK, self.y + _MARK


@dataclass(frozen=True)
class Label:
    """A name with its left end and middle."""

    point: Point
    left: float
    middle: float

    @property
    def box(self) -> Box:
        """What it covers."""
        return (
            self.left,
            self.middle - LINE / 2,
            self.left + self.point.wide,
            self.middle + LINE / 2,
        )

    @property
    def leader(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """The ends of a line from the point to the name, where the two are not at one height."""
        if abs(self.middle - self.point.y) <= 1:
            return None
        right = self.left > self.point.x
        near = self.left - 1 if right else self.left + self.point.wide + 1
        return (self.point.x + (_MARK if right else -_MARK), self.point.y), (near, self.middle)


def place(points: Sequence[Point], area: Box) -> list[Label]:
    """The names for which there is room; those that are `first` get it first, and then the highest."""
    found: list[Label] = []
    for column in sorted(_columns(points), key=len):
        others = [point.mark for point in points if point not in column] + [
            label.box for label in found
        ]
        best: list[Label] = []
        for shift in _SHIFTS:
            for side in (_LED, -_LED, _ASIDE, -_ASIDE):
                labels = _beside(column, side, shift, area, others)
                best = labels if _worth(labels) > _worth(best) else best
            if _worth(best)[0] == sum(point.first for point in column):
                break
        found += best
    return found


def _worth(labels: Sequence[Label]) -> tuple[int, int]:
    return sum(label.point.first for label in labels), len(labels)


def _columns(points: Sequence[Point]) -> list[list[Point]]:
    columns: list[list[Point]] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if columns and point.x - columns[-1][0].x <= _NEAR:
            columns[-1].append(point)
        else:
            columns.append([point])
    return columns


def _beside(
    column: Sequence[Point], side: float, shift: float, area: Box, others: Sequence[Box]
) -> list[Label]:
    """The names of a column.  side: to its right, or to its left if negative; so far away where lines lead there."""
    kept: list[Point] = []
    labels: list[Label] = []
    ends = [point.x for point in column]
    for point in sorted(column, key=lambda point: (not point.first, -point.y)):
        trial = sorted([*kept, point], key=lambda point: -point.y)
        middles = spread([one.y + shift for one in trial], area[1] + LINE / 2, area[3] - LINE / 2)
        led = any(abs(middle - one.y) > 1 for one, middle in zip(trial, middles, strict=False))
        aside = abs(side) if led else _ASIDE
        made = [
            Label(one, max(ends) + aside if side > 0 else min(ends) - aside - one.wide, middle)
            for one, middle in zip(trial, middles, strict=False)
        ]
        if len(made) == len(trial) and all(_free(label, area, others) for label in made):
            kept, labels = trial, made
    return labels


def _free(label: Label, area: Box, others: Sequence[Box]) -> bool:
    left, _, right, _ = label.box
    moved = abs(label.middle - label.point.y)
    return (
        area[0] <= left
        and right <= area[2]
        and moved <= _REACH
        and not any(overlap(label.box, o) for o in others)
    )


def spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """The heights nearest to falling ones that are a line apart and between the ends; none without room for all."""
    if (len(wanted) - 1) * LINE > high - low:
        return []
    blocks: list[
        tuple[float, int]
    ] = []  # mean and number; a name's height and the lines above it are one value
    for place, height in enumerate(wanted):
        mean, count = height + place * LINE, 1
        while blocks and blocks[-1][0] < mean:
            before, number = blocks.pop()
            mean, count = (before * number + mean * count) / (number + count), number + count
        blocks.append((mean, count))
    least = low + (len(wanted) - 1) * LINE
    values = [min(max(mean, least), high) for mean, count in blocks for _ in range(count)]
    return [value - place * LINE for place, value in enumerate(values)]


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
