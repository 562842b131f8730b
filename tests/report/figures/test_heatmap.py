"""The figure of differences, methods by pairs."""

from __future__ import annotations

from benchmark.report.figures import heatmap
from benchmark.report.figures.base import Tables
from tests.support.tabled import all_tuned, several, tables


def scale_title(figure):
    return figure.axes[1].get_ylabel().replace("\n", " ")


def test_it_shows_differences_to_the_student_alone_if_there_are_two_pairs():
    assert heatmap.draw(Tables(*tables())) is None

    figure = heatmap.draw(Tables(*several(2)))
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["at", "dkd", "kd", "crd"]
    texts = [text.get_text() for text in panel.texts]
    assert texts == ["+1.80", "+1.80", "+1.40", "+1.40", "+1.10", "+1.10", "-", "-"]
    assert scale_title(figure) == "points against the student alone"


def test_zero_is_in_the_middle_of_the_scale():
    (image,) = heatmap.draw(Tables(*several(2))).axes[0].images
    assert image.norm.vmin == -image.norm.vmax


def test_it_has_no_row_of_a_reference_and_says_what_tuned_rows_are_compared_with():
    board, costs, plan = all_tuned()
    figure = heatmap.draw(Tables(board, costs, plan))
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["kd (tuned)", "kd"]
    assert [text.get_text() for text in panel.texts] == ["+11.00", "+11.00", "+10.00", "+10.00"]

    compared = "oints against the student alone (for tuned rows, the tuned student alone)"
    assert scale_title(figure) == f"p{compared}"
    assert heatmap.FIGURE.caption(plan) == f"P{compared}, methods by pairs"


def test_numbers_are_white_on_dark_fields_alone():
    assert not heatmap._is_dark((1, 1, 1, 1))
    assert not heatmap._is_dark((0.9, 0.6, 0.2, 1))
    assert heatmap._is_dark((0.2, 0.0, 0.3, 1))
