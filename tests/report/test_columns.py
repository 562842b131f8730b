"""The columns of printed tables."""

from __future__ import annotations

import pytest

from benchmark.measures import MEASURES
from benchmark.report.columns import (
    ALWAYS,
    COMPUTED,
    DIAGNOSTICS,
    MEASURED,
    OVER_PAIRS,
    PAGE,
    TERMINAL,
    short_count,
    three_digits,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (7.0, "7"),
        (999.0, "999"),
        (999.6, "1.00k"),
        (5580.0, "5.58k"),
        (9995.0, "10.0k"),
        (83200.0, "83.2k"),
        (278324.0, "278k"),
        (999600.0, "1.00M"),
        (2.82e6, "2.82M"),
        (41.2e6, "41.2M"),
        (1.5e9, "1.50G"),
        (2e12, "2.00T"),
    ],
)
def test_a_count_has_three_digits_and_an_si_prefix(value, text):
    assert short_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00647, "0.00647"),
        (0.5, "0.500"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (123.4, "123"),
        (24690.0, "24690"),
    ],
)
def test_a_cost_has_three_significant_digits(value, text):
    assert three_digits(value) == text


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.column)
def test_every_measure_has_a_column_with_its_title_on_some_page(measure):
    columns = {column.name: column for column in (*PAGE, *COMPUTED, *DIAGNOSTICS, *MEASURED)}
    column = columns[measure.column]
    assert column.title == measure.title
    assert column.heading == (measure.short or measure.title)
    assert column.importance == measure.importance


@pytest.mark.parametrize("columns", [TERMINAL, PAGE, COMPUTED, MEASURED, OVER_PAIRS])
def test_no_two_columns_of_a_table_have_the_same_name_or_title(columns):
    assert len({column.name for column in columns}) == len(columns)
    assert len({column.title for column in columns}) == len(columns)


def test_a_narrow_terminal_keeps_method_accuracy_and_rank():
    required = [column.name for column in TERMINAL if column.importance >= ALWAYS]
    assert required == ["method", "n", "acc1", "rank"]
