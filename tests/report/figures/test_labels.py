"""Placing the names of points in a panel."""

from __future__ import annotations

import itertools

import pytest

from benchmark.report.figures.labels import LINE_HEIGHT, Point, overlap, place_labels, spread

AREA = (0.0, 0.0, 200.0, 200.0)


def column(*heights, x=60.0):
    return [Point(f"row{number}", x, height) for number, height in enumerate(heights)]


def test_a_name_with_room_stands_at_the_height_of_its_point_without_a_leader():
    (label,) = place_labels(column(100.0), AREA)
    assert label.middle == 100.0
    assert label.left > 60.0
    assert label.leader is None


def test_names_of_stacked_points_keep_their_order_and_leaders_lead_to_those_that_moved():
    labels = place_labels(column(104.0, 102.0, 100.0, 98.0, 20.0), AREA)
    assert [label.point.name for label in labels] == ["row0", "row1", "row2", "row3", "row4"]
    neighbours = itertools.pairwise(labels)
    assert all(upper.middle - lower.middle >= LINE_HEIGHT for upper, lower in neighbours)
    assert [label.leader is not None for label in labels] == [True, True, True, True, False]
    assert labels[0].leader[0] == (63.0, 104.0)


def test_names_cover_neither_each_other_nor_a_point_and_stay_inside_the_panel():
    points = [
        Point("some_name", 20.0 + 13 * number, 100.0 + (number * 37) % 90, important=number == 3)
        for number in range(14)
    ]
    labels = place_labels(points, AREA)
    assert len(labels) >= 7

    pairs = itertools.combinations(labels, 2)
    assert not any(overlap(first.box, second.box) for first, second in pairs)
    for label in labels:
        others = [point for point in points if point != label.point]
        assert not any(overlap(label.box, point.mark) for point in others)
        assert label.box[0] >= 0
        assert label.box[2] <= 200


def test_important_names_stay_if_there_is_no_room_for_all():
    points = [
        Point(f"row{number}", 60.0, 100.0 + number, important=number == 0) for number in range(20)
    ]
    names = [label.point.name for label in place_labels(points, AREA)]
    assert "row0" in names
    assert "row19" in names
    assert len(names) < 20


def test_a_name_that_does_not_fit_on_the_right_stands_on_the_left():
    (label,) = place_labels([Point("teacher", 190.0, 50.0)], AREA)
    assert label.box[2] < 190.0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([50.0, 20.0], [50.0, 20.0]),
        ([52.0, 50.0], [56.0, 46.0]),
        ([99.0, 98.0], [100.0, 90.0]),
        ([1.0, 0.0], [10.0, 0.0]),
        ([50.0] * 12, []),
    ],
)
def test_heights_move_as_little_as_possible_to_be_a_line_apart_and_within_the_limits(
    wanted, expected
):
    assert spread(wanted, 0.0, 100.0) == expected
