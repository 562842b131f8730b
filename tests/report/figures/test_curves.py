"""The figure of validation accuracy by epoch."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.report.figures import curves
from benchmark.report.figures.base import Tables
from benchmark.study.plan import Plan
from tests.support.tabled import entry, histories, several, tables


def draw(results, values):
    return curves.draw(Tables(*results, values))


@pytest.fixture(scope="module")
def small():
    """The figure of the small study."""
    figure = draw(tables(), histories())
    figure.draw_without_rendering()
    return figure


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def test_each_row_has_a_curve_and_a_band_over_the_seeds(small):
    (panel,) = small.axes
    assert len(panel.lines) == len(panel.collections) == 3
    assert labels(panel) == [
        "at (n = 2, last 70.5)",
        "kd (n = 2, last 70.5)",
        "student alone (n = 2, last 70.5)",
        "1 other is not drawn",
    ]


def test_the_last_accuracy_is_that_of_all_seeds_although_some_stopped_earlier():
    values = histories()
    end = (values["method"] == "kd") & (values["seed"] == 0) & (values["step"] == 4)
    (panel,) = draw(tables(), values[~end]).axes
    assert "kd (n = 2, last 68.0)" in labels(panel)  # 65 after three epochs, and 71 after four


@pytest.mark.parametrize("values", [None, histories(epochs=1), histories().iloc[:0]])
def test_there_is_no_figure_without_values_of_two_epochs(values):
    assert draw(tables(), values) is None


def test_curves_differ_in_their_markers_as_well_as_in_their_colours(small):
    (panel,) = small.axes
    assert len({line.get_color() for line in panel.lines}) == 3
    assert len({line.get_marker() for line in panel.lines}) == 3


def test_the_legend_covers_no_curve(small):
    (panel,) = small.axes
    assert panel.get_legend().get_window_extent().y1 < panel.bbox.y0


def test_a_pair_without_an_accuracy_has_no_panel():
    board, costs, plan = several(2)
    board.loc[board["pair"] == "pair0", "n"] = 0
    (panel,) = draw((board, costs, plan), histories(plan.pairs)).axes
    assert panel.get_title(loc="left") == "pair1"

    board["n"] = 0
    assert draw((board, costs, plan), histories(plan.pairs)) is None


@pytest.fixture(scope="module")
def large():
    """A study of 54 methods on a pair."""
    methods = ("student", *(f"m{number}" for number in range(53)))
    plan = Plan("large", "", ("p",), methods, tuple(range(5)), "last", "student")
    runs = [
        entry("p", method, seed, 60.0 + number / 10, 1.0)
        for number, method in enumerate(methods)
        for seed in plan.seeds
    ]
    return tables(pd.DataFrame(runs), plan)


def test_only_labelled_rows_need_values_and_the_legend_counts_the_others(large):
    board, _, plan = large
    labelled = curves.labelled_rows(board, plan)
    assert labelled == {"p": ["m52", "m51", "m50", "m49", "m48", "student"]}

    (panel,) = draw(large, histories(plan.pairs, labelled["p"])).axes
    assert len(panel.lines) == 6
    assert labels(panel)[-1] == "48 others are not drawn"


def test_curves_without_a_label_are_counted_in_the_legend(large):
    plan = large[2]
    (panel,) = draw(large, histories(plan.pairs, plan.methods)).axes
    assert len(panel.lines) == 54
    assert labels(panel)[0] == "48 others"


def test_a_method_keeps_its_colour_on_every_pair():
    board, costs, plan = several(2)
    board.loc[(board["pair"] == "pair1") & (board["method"] == "kd"), "acc1"] = 99.0
    ordered = board.sort_values("acc1", ascending=False)
    first, second = draw((ordered, costs, plan), histories(plan.pairs)).axes

    colours = [
        {line.get_label().split()[0]: line.get_color() for line in panel.lines}
        for panel in (first, second)
    ]
    assert list(colours[0]) != list(colours[1])
    assert colours[0] == colours[1]


@pytest.mark.parametrize("epochs", [2, 3, 12, 240])
def test_the_axis_of_epochs_has_whole_numbers_only(epochs):
    figure = draw(tables(), histories(epochs=epochs))
    figure.draw_without_rendering()
    (panel,) = figure.axes
    low, high = panel.get_xlim()
    ticks = [tick for tick in panel.get_xticks() if low <= tick <= high]
    assert len(ticks) >= 2
    assert all(tick == int(tick) for tick in ticks)
