"""What all pictures have in common: whatever the names, nothing is cut off and every panel has room."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from matplotlib.text import Text

from benchmark.report.figures import curves, heatmap, pareto, ranks
from benchmark.report.figures.accuracies import figure
from benchmark.report.figures.style import wide, wrapped
from benchmark.study.plan import Plan
from tests.support.tabled import entry, tables

NAMES = {
    "short": "{}",
    "medium": "a_name-of-medium-length_{}",
    "long": "{}" + 79 * "w",
    "in words": "{}" + 39 * " w" + "w",
}
"""As names of a study, its pairs and its rows; the last two have 80 characters."""


def study(name, count):
    """A student alone and some rows, two of them tuned, on some pairs, and the values of their curves."""
    pairs = tuple(name.format(number) for number in range(count))
    tuned = (name.format("a") + " (tuned)", "student (tuned)")
    rows = ("student", *(name.format(letter) for letter in "abc"), *tuned)
    plan = Plan(
        name.format("s"), "", pairs, rows, (0, 1, 2), "last", "student",
        datasets=dict.fromkeys(pairs, "hfds/uoft-cs/cifar100"), trials=dict.fromkeys(tuned, 5),
    )  # fmt: skip
    lines = [
        entry(pair, row, seed, 60.0 + place + seed, 50.0 * place + 50.0) | {"cost/params": 1e5 * 2**place}
        for pair in pairs for place, row in enumerate(rows) for seed in plan.seeds
    ]  # fmt: skip
    values = [
        (pair, row, seed, step, 9.0 * step)
        for pair in pairs
        for row in rows
        for seed in (0, 1)
        for step in (1, 2)
    ]
    return *tables(pd.DataFrame(lines), plan), pd.DataFrame(
        values, columns=["pair", "method", "seed", "step", "value"]
    )


def uncut(drawn):
    """Draws a picture; fails where something is cut off, a panel is a stripe, or one title runs into another."""
    drawn.draw_without_rendering()
    width, height = drawn.get_size_inches()
    box = drawn.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    panels = [panel for panel in drawn.axes if panel.get_label() != "<colorbar>"]
    assert all(
        panel.bbox.width > 1.5 * drawn.dpi and panel.bbox.height > 0.6 * drawn.dpi
        for panel in panels
    )
    titles = (
        [panel.title for panel in panels]
        + [panel._left_title for panel in panels]
        + [drawn._suptitle]
    )
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_picture_cuts_off_a_name_or_a_title(name, count):
    board, costs, plan, histories = study(name, count)
    uncut(figure(board, plan))
    uncut(drawn := pareto.draw(board, costs, plan))
    assert all(
        set(plan.methods) <= {text.get_text() for text in panel.texts} for panel in drawn.axes[:2]
    )
    uncut(curves.curves(histories, board, plan))
    if count > 1:
        uncut(drawn := heatmap.heatmap(board, plan))
        numbers = [text.get_window_extent() for text in drawn.axes[0].texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(numbers, 2))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_diagram_of_ranks_cuts_off_no_name(name):
    board, _, plan, _ = study(name, 5)
    uncut(ranks.ranks(board, plan))


def test_a_text_is_wrapped_where_it_is_too_long_and_keeps_all_its_letters():
    assert wrapped("short", 1.0) == "short"
    for text in ("a" * 80, "two words " * 8, "resnet32x4-shufflenetv1, hfds/uoft-cs/cifar100"):
        lines = wrapped(text, 1.0).split("\n")
        assert len(lines) > 1
        assert all(wide(line) <= 1.0 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_the_width_of_a_line_is_the_one_that_is_drawn():
    drawn = figure(*study("{}", 1)[::2])
    for text in ("kd", "WWWW", "iiii", "a name of a row"):
        shown = drawn.text(0, 0, text, fontsize=8)
        assert wide(text) == pytest.approx(Text.get_window_extent(shown).width / drawn.dpi, rel=0.1)
