"""The look that all figures share, and the sizes of text."""

from __future__ import annotations

import matplotlib
import matplotlib.style
import pytest
from matplotlib.figure import Figure

from benchmark.report.figures.base import render
from benchmark.report.figures.style import (
    colour_of,
    panel_grid,
    style,
    styled,
    text_width,
    wrap_text,
)
from tests.support.tabled import all_tuned

LONG = ("a" * 80, "two words " * 8, "resnet32x4-shufflenetv1, hfds/uoft-cs/cifar100")


def test_a_short_text_stays_on_one_line():
    assert wrap_text("short", 1.0) == "short"


@pytest.mark.parametrize("text", LONG)
def test_a_long_text_is_wrapped_and_keeps_all_its_letters(text):
    lines = wrap_text(text, 1.0).split("\n")
    assert len(lines) > 1
    assert all(text_width(line) <= 1.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["kd", "WWWW", "iiii", "a name of a row"])
def test_the_computed_width_of_a_line_is_its_width_in_a_figure(text):
    figure = Figure()
    with style():
        drawn = figure.text(0, 0, text, fontsize=8)
        width = drawn.get_window_extent().width
    assert text_width(text) == pytest.approx(width / figure.dpi, rel=0.1)


def test_a_grid_has_no_empty_panels():
    figure = Figure()
    assert len(panel_grid(figure, 2, 3)) == len(figure.axes) == 3


def test_the_tuned_student_alone_has_the_colour_of_the_student_alone():
    plan = all_tuned()[2]
    assert colour_of("student (tuned)", plan) == colour_of("student", plan)
    assert colour_of("kd (tuned)", plan) == colour_of("kd", plan) != colour_of("student", plan)


@pytest.mark.parametrize("settings", ["ggplot", {"lines.linewidth": 5, "savefig.dpi": 50}])
def test_settings_of_matplotlib_that_a_user_or_a_library_changed_change_no_figure(settings):
    @styled
    def draw():
        figure = Figure()
        figure.subplots().plot([1, 3, 2])
        return figure

    expected = render(draw())
    with matplotlib.style.context(settings):
        assert render(draw()) == expected


def test_drawing_leaves_matplotlib_as_it_was_even_if_it_fails():
    @styled
    def fail():
        assert matplotlib.rcParams["svg.hashsalt"] == "kdbench"
        raise ValueError

    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert dict(matplotlib.rcParams) == before
