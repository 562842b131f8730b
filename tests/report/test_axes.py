"""Which accuracies the main picture shows, and how it tells of the others."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from benchmark.report.figures.accuracies import figure
from benchmark.report.figures.axes import beyond, limits
from benchmark.study.plan import Plan
from tests.support.tabled import entry, tables


def row(mean, low=math.nan, high=math.nan):
    return {"acc1": mean, "ci_low": low, "ci_high": high}


def test_an_axis_holds_all_means_and_intervals_where_none_is_far_off():
    low, high = limits(
        [row(94.4, 93.9, 95.0), row(85.7, 79.9, 91.5), row(81.1, 67.9, 94.3), row(97.3)]
    )
    assert low < 67.9
    assert high > 97.3


def test_failures_do_not_take_more_than_half_of_the_axis():
    good = [row(94.0 + number / 10, 93.5, 98.0) for number in range(10)]
    low, high = limits([*good, row(20.0, 10.0, 30.0)])
    assert 90.0 < low < 93.5
    assert high > 98.0


def test_a_row_that_is_only_somewhat_worse_stays_on_the_axis():
    good = [row(94.0 + number / 10) for number in range(10)]
    assert limits([*good, row(93.0)])[0] < 93.0


def test_an_axis_ends_where_accuracies_end():
    assert limits([row(50.0, -40.0, 140.0)]) == (-2.0, 102.0)


@pytest.mark.parametrize("lines", [[], [row(math.nan)], [row(70.0)]])
def test_an_axis_without_a_spread_has_a_width(lines):
    low, high = limits(lines)
    assert low < high


def test_a_row_goes_on_beyond_the_ends_that_its_mean_or_interval_passes():
    ends = (80.0, 102.0)
    assert beyond(row(90.0, 85.0, 95.0), ends) == []
    assert beyond(row(90.0, 70.0, 95.0), ends) == [80.0]
    assert beyond(row(90.0, 70.0, 110.0), ends) == [80.0, 102.0]
    assert beyond(row(20.0), ends) == [80.0]


def drawn(worst):
    methods = ("student", *"abcdefgh")
    plan = Plan("small", "", ("pair",), methods, (0, 1, 2), "last", "student")
    means = {method: 94.0 + place / 10 for place, method in enumerate(methods)} | {"h": worst}
    runs = [
        entry("pair", method, seed, mean + seed / 100, 1.0)
        for method, mean in means.items()
        for seed in plan.seeds
    ]
    board, _, plan = tables(pd.DataFrame(runs), plan)
    return figure(board, plan)


def test_the_picture_marks_a_failure_at_its_edge_and_says_so_below():
    (panel,) = (picture := drawn(20.0)).axes
    marks = [line for line in panel.lines if line.get_marker() == "<"]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [panel.get_xlim()[0]]
    assert "20.01" in [text.get_text() for text in panel.texts]
    assert "goes on beyond the axis" in [text.get_text() for text in picture.legends[0].get_texts()]


def test_the_picture_has_no_such_mark_where_all_is_on_the_axis():
    (panel,) = (picture := drawn(93.5)).axes
    assert [line for line in panel.lines if line.get_marker() in ("<", ">")] == []
    assert "goes on beyond the axis" not in [
        text.get_text() for text in picture.legends[0].get_texts()
    ]
