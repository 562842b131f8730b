"""The figure of what accuracy costs."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.measures import BY_COLUMN
from benchmark.report.figures import pareto
from benchmark.report.figures.base import Tables
from benchmark.study.plan import Plan
from tests.support.tabled import entry, several, tables, tuned


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 5), (2, 6), (3, 5), (2, 7)], [0, 3]),
        ([(1, 5), (1, 5), (2, 5)], [0, 1]),
        ([(1, 0.1 + 0.2), (1, 0.3), (1, 0.2)], [0, 1]),
        ([(2, 9), (1, 9)], [1]),
        ([], []),
    ],
)
def test_the_front_has_the_points_that_no_other_matches_at_less_cost_or_beats_at_the_same(
    points, front
):
    assert pareto.pareto_front(points) == front


def test_rows_with_the_same_network_share_a_latency():
    board, costs, _ = tables()
    costs.loc[costs["method"] == "kd", "latency_ms"] = 4.0
    latencies = pareto._with_costs(board, costs).set_index("method")["latency_ms"]
    assert latencies["kd"] == latencies["student"] == 2.0


def test_there_is_a_panel_per_cost_and_pair_in_which_points_have_names():
    figure = pareto.draw(Tables(*several(2)))
    titles = [BY_COLUMN[cost].title for cost in pareto.COSTS]
    assert [panel.get_xlabel() for panel in figure.axes] == titles * 2
    for panel in figure.axes:
        assert {"at", "teacher", "student"} <= {text.get_text() for text in panel.texts}


def test_there_is_no_figure_if_no_cost_is_known():
    board, costs, plan = several(2)
    board["params"] = board["compute_tmac"] = costs["latency_ms"] = math.nan
    assert pareto.draw(Tables(board, costs, plan)) is None


def test_a_panel_without_values_says_so_and_the_others_are_drawn():
    board, costs, plan = several(2)
    rows = board[(board["pair"] == "pair0") | (board["method"] == "teacher")].copy()
    rows.loc[rows["pair"] == "pair1", "compute_tmac"] = math.nan
    figure = pareto.draw(Tables(rows, costs, plan))
    texts = [[text.get_text() for text in panel.texts] for panel in figure.axes]
    assert texts[5] == ["not measured"]
    assert all("teacher" in of_panel for of_panel in texts[:5])


def test_names_stay_beside_their_points_if_leaders_lead_to_some():
    figure = pareto.draw(Tables(*tuned()))
    figure.draw_without_rendering()
    panel = figure.axes[0]
    assert any(line.get_linewidth() == 0.5 for line in panel.lines)

    ((x, _),) = panel.transData.transform([(2.0, 70.0)])
    names = [text.get_window_extent() for text in panel.texts if text.get_text()]
    assert all(abs(box.x0 - x) < 20 * figure.dpi / 72 for box in names)


def marks(panel):
    """Colour, marker and filling of each mark."""
    return {
        (to_hex(line.get_color()), line.get_marker(), to_hex(line.get_markerfacecolor()))
        for line in panel.lines
        if line.get_marker() not in ("None", "")
    }


def test_rows_with_equal_accuracy_and_cost_are_both_filled():
    plan = Plan("small", "", ("p",), ("student", "kd", "at"), (0, 1, 2), "last", "student")
    accuracies = {"student": 60.0, "kd": 70.0, "at": 70.0}
    runs = [
        entry("p", method, seed, acc1, 1.0)
        for method, acc1 in accuracies.items()
        for seed in plan.seeds
    ]
    figure = pareto.draw(Tables(*tables(pd.DataFrame(runs), plan)))
    assert marks(figure.axes[1]) == {("#0072b2", "o", "#0072b2"), ("#009e73", "D", "#ffffff")}
