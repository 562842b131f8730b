"""The main figure of a leaderboard."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.report.figures import accuracies
from benchmark.report.figures.base import Tables
from benchmark.study.plan import Plan
from tests.support.tabled import entry, several, tables


@pytest.fixture(scope="module")
def small():
    """The figure of the small study."""
    return accuracies.draw(Tables(*tables()))


@pytest.fixture(scope="module")
def board():
    return tables()[0]


def test_the_figure_has_a_row_per_method_best_first(small):
    (panel,) = small.axes
    methods = [label.get_text() for label in panel.get_yticklabels()]
    assert methods == ["at", "dkd", "kd", "student", "crd"]
    assert panel.get_xlabel() == "Top-1 accuracy (%), mean and 95 % interval, n = 2 to 3"
    assert "not applicable" in [text.get_text() for text in panel.texts]


def test_a_dot_shows_each_mean_and_is_hollow_for_a_row_without_a_rank(small):
    (panel,) = small.axes
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([71.0, 70.6, 70.3, 69.2])
    fills = [to_hex(dot.get_markerfacecolor()) for dot in dots]
    assert fills == ["#0072b2", "#ffffff", "#0072b2", "#009e73"]


def test_lines_show_the_references_and_the_intervals(small, board):
    (panel,) = small.axes
    references = {
        line.get_linestyle(): line.get_xdata()[0]
        for line in panel.lines
        if line.get_linestyle() in ("--", ":")
    }
    assert references == pytest.approx({"--": 73.4, ":": 69.2})

    intervals = [
        tuple(line.get_xdata())
        for line in panel.lines
        if line.get_linestyle() == "-" and line.get_marker() != "o"
    ]
    at = board[board["method"] == "at"].iloc[0]
    assert intervals[0] == pytest.approx((at["ci_low"], at["ci_high"]))


def test_the_axis_holds_all_means_and_intervals(small, board):
    low, high = small.axes[0].get_xlim()
    drawn = board[["acc1", "ci_low", "ci_high"]].stack()
    assert low < drawn.min()
    assert high > drawn.max()


def test_the_figure_has_a_panel_per_pair():
    results = several(5)
    figure = accuracies.draw(Tables(*results))
    assert [panel.get_title(loc="left") for panel in figure.axes] == list(results[2].pairs)


def with_worst(worst):
    """The figure of nine methods around 94 %, one of which has this accuracy."""
    methods = ("student", *"abcdefgh")
    plan = Plan("small", "", ("pair",), methods, (0, 1, 2), "last", "student")
    means = {method: 94.0 + number / 10 for number, method in enumerate(methods)} | {"h": worst}
    runs = [
        entry("pair", method, seed, mean + seed / 100, 1.0)
        for method, mean in means.items()
        for seed in plan.seeds
    ]
    return accuracies.draw(Tables(*tables(pd.DataFrame(runs), plan)))


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_failure_is_marked_at_the_edge_of_the_axis_and_in_the_legend():
    figure = with_worst(20.0)
    (panel,) = figure.axes
    marks = [line for line in panel.lines if line.get_marker() == "<"]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [panel.get_xlim()[0]]
    assert "20.01" in [text.get_text() for text in panel.texts]
    assert "extends beyond the axis" in legend(figure)


def test_nothing_is_marked_if_all_rows_are_on_the_axis():
    figure = with_worst(93.5)
    assert [line for line in figure.axes[0].lines if line.get_marker() in ("<", ">")] == []
    assert "extends beyond the axis" not in legend(figure)
