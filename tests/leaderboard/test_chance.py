"""Rows that are not shown to be better than guessing have a note."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.leaderboard.table import leaderboard
from tests.support.tabled import PLAN, runs

PAIR = PLAN.pairs[0]


def notes(accuracies, classes=100, method="student"):
    """The note of a row with these accuracies, one per seed."""
    table = runs()
    for seed, accuracy in enumerate(accuracies):
        own = (table["method"] == method) & (table["seed"] == seed)
        table.loc[own, "test/acc1"] = accuracy
    plan = dataclasses.replace(PLAN, classes={} if classes is None else {PAIR: classes})
    board = leaderboard(table, plan)
    return board.set_index("method")["note"][method]


@pytest.mark.parametrize("accuracies", [(1.0, 1.02, 0.99), (0.5, 0.6, 0.55), (3.0, 9.0, 1.0)])
def test_a_row_whose_interval_is_not_above_chance_is_marked(accuracies):
    assert notes(accuracies) == (
        "not shown to be better than chance: its interval is not above 1 %, the accuracy of "
        "guessing among 100 classes"
    )


def test_chance_depends_on_the_number_of_classes():
    accuracies = (32.0, 34.0, 33.0)
    assert notes(accuracies, 100) == ""
    assert "not above 33.3 %" in notes(accuracies, 3)
    assert "not above 50 %" in notes(accuracies, 2)


def test_a_row_that_is_better_than_chance_is_not_marked():
    assert notes((1.5, 1.6, 1.55)) == ""


def test_a_teacher_is_one_network_and_is_marked_by_its_accuracy():
    assert notes((10.0,), 10, "teacher").startswith(
        "not shown to be better than chance: its accuracy is not above 10 %"
    )
    assert notes((10.1,), 10, "teacher") == ""


def test_plans_of_older_versions_do_not_know_the_number_of_classes():
    assert notes((1.0, 1.0, 1.0), None) == ""


def test_the_note_comes_before_the_others():
    table = runs()
    table.loc[table["method"] == "dkd", "test/acc1"] = 1.0
    plan = dataclasses.replace(PLAN, classes={PAIR: 100})
    note = leaderboard(table, plan).set_index("method")["note"]["dkd"]
    assert note.startswith("not shown to be better than chance: ")
    assert "1 of 3 cells failed" in note
