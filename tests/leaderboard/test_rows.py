"""Which runs a row of the table is made of."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from tests.support.handmade import board, full, line, row, run


def test_a_cell_that_failed_and_then_finished_counts_as_finished():
    kd = line([*full(), run("kd", 1, math.nan, status="FAILED", reason="power cut")], "kd")
    assert (kd["n"], kd["rank"], kd["note"]) == (3, 1, "")


def test_a_finished_cell_without_an_accuracy_does_not_count():
    kd = line([*full()[:4], *row("kd", (92.0, math.nan, 94.0))], "kd")
    assert (kd["n"], kd["acc1"], kd["rank"]) == (2, 93.0, None)
    assert kd["note"] == "1 of 3 cells finished without an accuracy"


@pytest.mark.parametrize(
    ("reasons", "note"),
    [
        ("aaa", "3 of 3 cells failed: a"),
        ("bab", "3 of 3 cells failed: b (2), a (1)"),
        ("a", "1 of 3 cells failed: a"),
    ],
)
def test_all_reasons_of_failed_cells_are_shown_in_the_order_of_their_seeds(reasons, note):
    failed = [
        run("kd", seed, math.nan, status="FAILED", reason=reason)
        for seed, reason in enumerate(reasons)
    ]
    others = [run("kd", seed, 90.0) for seed in range(len(reasons), 3)]
    assert line([*full()[:4], *failed[::-1], *others], "kd")["note"] == note


def test_a_failure_without_a_reason_says_that_none_was_recorded():
    failed = run("kd", 1, math.nan, status="FAILED", reason=math.nan)
    note = line([run("kd", 0, 90.0), failed, run("kd", 2, 90.0)], "kd")["note"]
    assert note.startswith("1 of 3 cells failed: no reason recorded")


def test_runs_that_the_plan_does_not_name_are_ignored_even_when_they_are_double():
    others = [
        run("kd", 7, 10.0),
        run("kd", 7, 20.0),
        run("rkd", 0, 99.0),
        run("kd", 0, 99.0, pair="elsewhere"),
    ]
    pd.testing.assert_frame_equal(board([*full(), *others]), board(full()))


def test_two_finished_runs_of_one_cell_are_refused_by_name():
    double = run("kd", 1, 93.0) | {"run_id": "again"}
    with pytest.raises(ValueError, match=r"r56-r20/kd seed 1: runs again, r56-r20-kd-1-FINISHED"):
        board([*full(), double])
