"""Counts agree with their nouns, durations have two units, and long lists are cut short."""

from __future__ import annotations

import pytest

from benchmark.wording import LISTED, counted, duration, listed


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (21, "21 cells")]
)
def test_a_noun_is_singular_after_one_only(number: int, text: str) -> None:
    assert counted(number, "cell") == text


def test_an_irregular_plural_is_given() -> None:
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]


def test_a_list_is_cut_after_some_names_and_counts_the_others() -> None:
    names = [f"n{number}" for number in range(LISTED + 2)]
    assert listed(names[:2]) == "n0, n1"
    assert listed(names[:LISTED]) == ", ".join(names[:LISTED])
    assert listed(names) == f"{', '.join(names[:LISTED])} and 2 more"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (45, "45 s"),
        (150, "2 min 30 s"),
        (37_320, "10 h 22 min"),
        (172_800, "2 days"),
        (130_000_000, "1,505 days"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
