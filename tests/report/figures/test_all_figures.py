"""What all figures have in common: whatever the names, nothing is cut off and panels have room."""

from __future__ import annotations

import itertools
from functools import cache

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.report.figures import MAIN, all_figures
from benchmark.report.figures.base import Tables
from benchmark.study.plan import Plan
from tests.support.tabled import all_tuned, entry, histories, tables

pytestmark = pytest.mark.broad

NAMES = {
    "short": "{}",
    "medium": "a_name-of-medium-length_{}",
    "long": "{}" + 79 * "w",
    "in words": "{}" + 39 * " w" + "w",
}
"""Names of a study, its pairs and its rows; the last two kinds have 80 characters."""

KINDS = {kind.name: kind for kind in all_figures()}

PAIRS = {"heatmap": (2, 3), "ranks": (5,)}
"""Numbers of pairs by figure, where a figure needs several."""

CASES = [
    pytest.param(kind, name, count, marks=[pytest.mark.slow] if name == "medium" else [])
    for kind in KINDS
    for name in NAMES
    for count in PAIRS.get(kind, (1, 2, 3))
]


@cache
def drawn(kind, name, count):
    """A figure, drawn once."""
    figure = KINDS[kind].draw(study(name, count))
    assert figure is not None
    figure.draw_without_rendering()
    return figure


@cache
def study(name, count):
    """A student alone and some rows, two of them tuned, on some pairs."""
    name = NAMES[name]
    pairs = tuple(name.format(number) for number in range(count))
    tuned = (name.format("a") + " (tuned)", "student (tuned)")
    rows = ("student", *(name.format(letter) for letter in "abc"), *tuned)
    plan = Plan(
        name.format("s"),
        "",
        pairs,
        rows,
        (0, 1, 2),
        "last",
        "student",
        datasets=dict.fromkeys(pairs, "hfds/uoft-cs/cifar100"),
        trials=dict.fromkeys(tuned, 5),
    )
    runs = [
        entry(pair, row, seed, 60.0 + place + seed, 50.0 * place + 50.0)
        | {"cost/params": 1e5 * 2**place}
        for pair in pairs
        for place, row in enumerate(rows)
        for seed in plan.seeds
    ]
    values = histories(pairs, rows, epochs=2)
    return Tables(*tables(pd.DataFrame(runs), plan), values)


def panels_of(figure):
    return [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]


each_figure = pytest.mark.parametrize(("kind", "name", "count"), CASES)


@each_figure
def test_nothing_is_cut_off(kind, name, count):
    figure = drawn(kind, name, count)
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@each_figure
def test_no_panel_is_a_stripe(kind, name, count):
    figure = drawn(kind, name, count)
    for panel in panels_of(figure):
        assert panel.bbox.width > 1.5 * figure.dpi
        assert panel.bbox.height > 0.6 * figure.dpi


@each_figure
def test_no_title_runs_into_another(kind, name, count):
    figure = drawn(kind, name, count)
    titles = [figure._suptitle]
    for panel in panels_of(figure):
        titles += [panel.title, panel._left_title]
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    assert not any_overlap(boxes)


def any_overlap(boxes):
    return any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_points_of_costs_all_have_names(name, count):
    methods = set(study(name, count).plan.methods)
    for panel in drawn("pareto", name, count).axes[:2]:
        assert methods <= {text.get_text() for text in panel.texts}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_in_the_fields_of_differences_do_not_overlap(name, count):
    texts = drawn("heatmap", name, count).axes[0].texts
    assert not any_overlap([text.get_window_extent() for text in texts])


def test_the_main_figure_comes_first_and_names_are_unique():
    names = [kind.name for kind in all_figures()]
    assert names[0] == MAIN
    assert len(set(names)) == len(names)


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is():
    plan = Plan("cost $x^2$", "", ("a$b$",), ("kd$\\nothing$",), (0,), "last", None)
    figure = KINDS[MAIN].draw(Tables(*tables(pd.DataFrame(), plan)))
    figure.draw_without_rendering()
    assert figure._suptitle.get_text() == "cost $x^2$"


def test_the_tuned_student_alone_has_the_colour_of_the_student_alone_in_every_figure():
    board, costs, plan = all_tuned()
    results = Tables(board, costs, plan, histories(plan.pairs, plan.methods))

    for kind, marker in (("pareto", "D"), (MAIN, "o")):
        panel = KINDS[kind].draw(results).axes[0]
        marks = [line for line in panel.lines if line.get_marker() not in ("None", "")]
        green = [line for line in marks if to_hex(line.get_color()) == "#009e73"]
        assert [line.get_marker() for line in green] == [marker, marker]
        if marker == "D":
            assert [line for line in marks if line.get_marker() == "D"] == green

    curves = KINDS["curves"].draw(results).axes[0].lines
    colours = {line.get_label().split(" (n")[0]: to_hex(line.get_color()) for line in curves}
    assert colours["student (tuned)"] == colours["student alone"] == "#009e73"
    assert "#009e73" not in (colours["kd"], colours["kd (tuned)"])
