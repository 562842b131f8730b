"""The main picture of a leaderboard."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.report.figures.accuracies import figure
from tests.support.tabled import several, tables


def test_the_picture_shows_each_mean_interval_and_reference():
    board, _, plan = tables()
    (panel,) = figure(board, plan).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "at",
        "dkd",
        "kd",
        "student",
        "crd",
    ]
    assert panel.get_xlabel() == "Top-1 accuracy (%), mean and 95 % interval, n = 2 to 3"
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([71.0, 70.6, 70.3, 69.2])
    assert [to_hex(dot.get_markerfacecolor()) for dot in dots] == [
        "#0072b2",
        "#ffffff",
        "#0072b2",
        "#009e73",
    ]
    references = {
        line.get_linestyle(): line.get_xdata()[0]
        for line in panel.lines
        if line.get_linestyle() in ("--", ":")
    }
    assert references == pytest.approx({"--": 73.4, ":": 69.2})
    intervals = [
        tuple(line.get_xdata())
        for line in panel.lines
        if line.get_linestyle() == "-" and line not in dots
    ]
    at = board[board["method"] == "at"].iloc[0]
    assert intervals[0] == pytest.approx((at["ci_low"], at["ci_high"]))
    assert "not applicable" in [text.get_text() for text in panel.texts]
    low, high = panel.get_xlim()
    drawn = board[["acc1", "ci_low", "ci_high"]].to_numpy()
    assert low < pd.Series(drawn.ravel()).min()
    assert high > pd.Series(drawn.ravel()).max()


def test_the_picture_has_a_panel_for_each_pair():
    board, _, plan = several(5)
    assert [panel.get_title(loc="left") for panel in figure(board, plan).axes] == list(plan.pairs)
