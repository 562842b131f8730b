"""Where the names of points stand in a picture."""

from __future__ import annotations

import itertools

import pytest

from benchmark.report.figures.labels import LINE, Point, overlap, place, spread

AREA = (0.0, 0.0, 200.0, 200.0)


def column(*heights, x=60.0):
    return [Point(f"row{number}", x, height) for number, height in enumerate(heights)]


def test_a_name_with_room_stands_at_the_height_of_its_point_without_a_line():
    (label,) = place(column(100.0), AREA)
    assert label.middle == 100.0
    assert label.left > 60.0
    assert label.leader is None


def test_names_of_points_one_above_the_other_keep_their_order_and_lines_lead_to_those_that_moved():
    labels = place(column(104.0, 102.0, 100.0, 98.0, 20.0), AREA)
    assert [label.point.name for label in labels] == ["row0", "row1", "row2", "row3", "row4"]
    assert all(over.middle - under.middle >= LINE for over, under in itertools.pairwise(labels))
    assert [label.leader is not None for label in labels] == [True, True, True, True, False]
    assert labels[0].leader[0] == (63.0, 104.0)


def test_names_cover_neither_each_other_nor_a_point_nor_leave_the_panel():
    points = [
        Point("some_name", 20.0 + 13 * place, 100.0 + (place * 37) % 90, first=place == 3)
        for place in range(14)
    ]
    labels = place(points, AREA)
    assert len(labels) >= 7
    assert all(not overlap(one.box, other.box) for one, other in itertools.combinations(labels, 2))
    assert all(
        not overlap(label.box, point.mark)
        for label in labels
        for point in points
        if point != label.point
    )
    assert all(label.box[0] >= 0 and label.box[2] <= 200 for label in labels)


def test_names_that_come_first_stay_where_there_is_not_room_for_all():
    points = [
        Point(f"row{number}", 60.0, 100.0 + number, first=number == 0) for number in range(20)
    ]
    names = [label.point.name for label in place(points, AREA)]
    assert "row0" in names
    assert "row19" in names
    assert len(names) < 20


def test_a_name_that_does_not_fit_on_the_right_stands_on_the_left():
    (label,) = place([Point("teacher", 190.0, 50.0)], AREA)
    assert label.box[2] < 190.0


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([50.0, 20.0], [50.0, 20.0]),
        ([52.0, 50.0], [56.0, 46.0]),
        ([99.0, 98.0], [100.0, 90.0]),
        ([1.0, 0.0], [10.0, 0.0]),
        ([50.0] * 12, []),
    ],
)
def test_heights_are_a_line_apart_as_near_as_they_can_be_and_between_the_ends(wanted, found):
    assert spread(wanted, 0.0, 100.0) == found
