"""Places the names of points in a panel so that none covers another name or point.

Names are stacked in columns beside their points, in the order of the points. All lengths are in
typographic points; y points up. Matplotlib offers no such placement, and figures must be identical
in every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.report.figures.style import text_width

LINE_HEIGHT = 10.0
"""Height of a line of small text."""

_SAME_COLUMN = 12.0
"""Points that are at most this far apart in x share a column of names."""

_MARK = 3.0
"""Half the size of a point's mark."""

_ASIDE = 7.0
"""Distance from a point to its name."""

_ASIDE_WITH_LEADERS = 18.0
"""Distance from a point to its name in a column that needs leader lines."""

_REACH = 16.0
"""How far up or down a name may move from its point."""

_SHIFTS = (0.0, 7.0, -7.0, 14.0, -14.0)
"""Upward shifts of a column of names, tried in turn until all important names have room."""

_SIDES = (_ASIDE_WITH_LEADERS, -_ASIDE_WITH_LEADERS, _ASIDE, -_ASIDE)
"""Distances from points to names with leaders, tried in turn; negative ones are to the left."""

Box = tuple[float, float, float, float]
"""Left, bottom, right and top."""


@dataclass(frozen=True)
class Point:
    """A point with a name.

    Attributes:
        name: The name.
        x: Horizontal position.
        y: Vertical position.
        important: Whether its name is placed before others.
    """

    name: str
    x: float
    y: float
    important: bool = False

    @property
    def name_width(self) -> float:
        """Width of the name."""
        return 72 * text_width(self.name)

    @property
    def mark(self) -> Box:
        """The box that the mark of the point covers."""
        return self.x - _MARK, self.y - _MARK, self.x + _MARK, self.y + _MARK


@dataclass(frozen=True)
class Label:
    """A placed name.

    Attributes:
        point: Its point.
        left: Position of its left end.
        middle: Height of its middle.
    """

    point: Point
    left: float
    middle: float

    @property
    def box(self) -> Box:
        """The box that the name covers."""
        half = LINE_HEIGHT / 2
        return self.left, self.middle - half, self.left + self.point.name_width, self.middle + half

    @property
    def leader(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Ends of the line from the point to the name, unless both are at the same height."""
        if abs(self.middle - self.point.y) <= 1:
            return None

        if self.left > self.point.x:
            start, end = self.point.x + _MARK, self.left - 1
        else:
            start, end = self.point.x - _MARK, self.left + self.point.name_width + 1
        return (start, self.point.y), (end, self.middle)


def place_labels(points: Sequence[Point], area: Box) -> list[Label]:
    """Place the names for which there is room, important ones first, then the highest.

    Args:
        points: All points of the panel.
        area: The box that names must stay in.
    """
    labels: list[Label] = []
    for column in sorted(_columns(points), key=len):
        marks = [point.mark for point in points if point not in column]
        obstacles = [*marks, *(label.box for label in labels)]
        labels += _place_column(column, area, obstacles)
    return labels


def _columns(points: Sequence[Point]) -> list[list[Point]]:
    """Group points that are close in x."""
    columns: list[list[Point]] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if columns and point.x - columns[-1][0].x <= _SAME_COLUMN:
            columns[-1].append(point)
        else:
            columns.append([point])
    return columns


def _place_column(column: Sequence[Point], area: Box, obstacles: Sequence[Box]) -> list[Label]:
    """Return the best of the placements tried for a column of names."""
    important = sum(point.important for point in column)

    best: list[Label] = []
    for shift in _SHIFTS:
        for side in _SIDES:
            labels = _place_beside(column, side, shift, area, obstacles)
            if _score(labels) > _score(best):
                best = labels
        if _score(best)[0] == important:
            break
    return best


def _score(labels: Sequence[Label]) -> tuple[int, int]:
    return sum(label.point.important for label in labels), len(labels)


def _place_beside(
    column: Sequence[Point], side: float, shift: float, area: Box, obstacles: Sequence[Box]
) -> list[Label]:
    """Add the names of a column one by one, keeping each that leaves room for all kept so far.

    Args:
        column: The points.
        side: Distance to the names where leaders are needed; to the left if negative.
        shift: How far to move the names up.
        area: The box that names must stay in.
        obstacles: Boxes that names must not cover.
    """
    kept: list[Point] = []
    labels: list[Label] = []
    for point in sorted(column, key=lambda point: (not point.important, -point.y)):
        trial = sorted([*kept, point], key=lambda point: -point.y)
        placed = _labels_of(trial, column, side, shift, area)
        if placed and all(_has_room(label, area, obstacles) for label in placed):
            kept, labels = trial, placed
    return labels


def _labels_of(
    points: Sequence[Point], column: Sequence[Point], side: float, shift: float, area: Box
) -> list[Label]:
    """Stack names vertically; return none if the area is not high enough for all."""
    low, high = area[1] + LINE_HEIGHT / 2, area[3] - LINE_HEIGHT / 2
    middles = spread([point.y + shift for point in points], low, high)
    if not middles:
        return []

    needs_leaders = any(
        abs(middle - point.y) > 1 for point, middle in zip(points, middles, strict=True)
    )
    aside = abs(side) if needs_leaders else _ASIDE
    right = max(point.x for point in column) + aside
    left = min(point.x for point in column) - aside
    return [
        Label(point, right if side > 0 else left - point.name_width, middle)
        for point, middle in zip(points, middles, strict=True)
    ]


def _has_room(label: Label, area: Box, obstacles: Iterable[Box]) -> bool:
    left, _, right, _ = label.box
    if left < area[0] or right > area[2]:
        return False
    if abs(label.middle - label.point.y) > _REACH:
        return False
    return not any(overlap(label.box, obstacle) for obstacle in obstacles)


def spread(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Return the nearest heights that are at least a line apart and within the limits.

    Args:
        heights: The desired heights, decreasing.
        low: Lower limit.
        high: Upper limit.

    Returns:
        The heights, or an empty list if there is not enough room.
    """
    if (len(heights) - 1) * LINE_HEIGHT > high - low:
        return []

    # Isotonic regression: with the lines above added to each height, "a line apart" means
    # "not rising", and neighbours in the wrong order are replaced by their mean.
    blocks: list[tuple[float, int]] = []  # mean and number of heights
    for index, height in enumerate(heights):
        mean, count = height + index * LINE_HEIGHT, 1
        while blocks and blocks[-1][0] < mean:
            previous, number = blocks.pop()
            mean = (previous * number + mean * count) / (number + count)
            count += number
        blocks.append((mean, count))

    least = low + (len(heights) - 1) * LINE_HEIGHT
    values = [min(max(mean, least), high) for mean, count in blocks for _ in range(count)]
    return [value - index * LINE_HEIGHT for index, value in enumerate(values)]


def overlap(first: Box, second: Box) -> bool:
    """Return whether two boxes share more than an edge."""
    in_x = first[0] < second[2] and second[0] < first[2]
    in_y = first[1] < second[3] and second[1] < first[3]
    return in_x and in_y
