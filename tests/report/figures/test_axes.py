"""Which accuracies an axis shows, how it marks the others, and the labels of its ticks."""

from __future__ import annotations

import math

import pytest

from benchmark.report.figures.axes import ends_passed, limits, tick_label


def row(mean, low=math.nan, high=math.nan):
    return {"acc1": mean, "ci_low": low, "ci_high": high}


def test_an_axis_holds_all_means_and_intervals_if_none_is_far_off():
    rows = [row(94.4, 93.9, 95.0), row(85.7, 79.9, 91.5), row(81.1, 67.9, 94.3), row(97.3)]
    low, high = limits(rows)
    assert low < 67.9
    assert high > 97.3


def test_failures_take_no_more_than_half_of_the_axis():
    good = [row(94.0 + number / 10, 93.5, 98.0) for number in range(10)]
    low, high = limits([*good, row(20.0, 10.0, 30.0)])
    assert 90.0 < low < 93.5
    assert high > 98.0


def test_a_row_that_is_only_slightly_worse_stays_on_the_axis():
    good = [row(94.0 + number / 10) for number in range(10)]
    assert limits([*good, row(93.0)])[0] < 93.0


def test_an_axis_ends_where_accuracies_end():
    assert limits([row(50.0, -40.0, 140.0)]) == (-2.0, 102.0)


@pytest.mark.parametrize("lines", [[], [row(math.nan)], [row(70.0)]])
def test_an_axis_has_a_width_even_if_the_means_have_no_spread(lines):
    low, high = limits(lines)
    assert low < high


def test_a_row_passes_the_ends_that_its_mean_or_interval_lies_beyond():
    ends = (80.0, 102.0)
    assert ends_passed(row(90.0, 85.0, 95.0), ends) == []
    assert ends_passed(row(90.0, 70.0, 95.0), ends) == [80.0]
    assert ends_passed(row(90.0, 70.0, 110.0), ends) == [80.0, 102.0]
    assert ends_passed(row(20.0), ends) == [80.0]


@pytest.mark.parametrize(
    ("value", "label"),
    [(0.005, "0.005"), (0.5, "0.5"), (150.0, "150"), (1500.0, "1.5k"), (2e5, "200k"), (3e9, "3G")],
)
def test_a_tick_has_an_si_prefix_from_a_thousand_on(value, label):
    assert tick_label(value) == label
