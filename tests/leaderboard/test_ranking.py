"""Which rows have a rank, and among which rows they are ranked."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from tests.support.handmade import (
    AT,
    KD,
    PAIR,
    PLAN,
    TUNED_PLAN,
    UNEQUAL,
    UNEQUAL_PLAN,
    board,
    everywhere,
    full,
    line,
    lines,
    methods,
    ranks,
    row,
    run,
    tuned,
)


def of_first_pair(runs, plan, columns):
    """The lines of the pair p, without the name of the pair."""
    return [values[1:] for values in lines(runs, plan, columns) if values[0] == "p"]


def test_equal_means_share_the_lower_rank_and_keep_the_plans_order():
    plan = dataclasses.replace(PLAN, methods=("student", "kd", "at", "dkd"))
    # The same decimals in another order, and others with the same sum, whose binary mean is larger
    # by one bit.
    runs = [
        *row("student", (60.0,) * 3),
        *row("kd", (70.0, 70.1, 70.3)),
        *row("at", (70.3, 70.0, 70.1)),
        *row("dkd", (70.0, 70.0, 70.4)),
    ]
    table = board(runs, plan)
    assert methods(table) == ["teacher", "kd", "at", "dkd", "student"]
    assert table["rank"].tolist() == [pd.NA, 1, 1, 1, 4]


def test_a_row_with_a_failed_cell_keeps_its_place_but_gets_no_rank():
    failed = run("kd", 1, math.nan, status="FAILED", reason="loss is\n  nan")
    runs = [*full()[:4], run("kd", 0, 99.0), failed, run("kd", 2, 99.0), *row("at", AT)]
    table = board(runs)
    assert methods(table) == ["teacher", "kd", "at", "student"]
    assert table["rank"].tolist() == [pd.NA, pd.NA, 1, 2]

    kd = line(runs, "kd")
    assert (kd["n"], kd["planned"], kd["acc1"]) == (2, 3, 99.0)
    assert kd["note"] == "1 of 3 cells failed: loss is nan"


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_a_row_with_a_missing_cell_gets_no_rank(status):
    unfinished = run("kd", 2, 99.9, status=status)  # its accuracy counts for nothing
    kd = line([*full()[:4], *row("kd", KD[:2]), unfinished], "kd")
    assert kd["n"] == 2
    assert kd["acc1"] == 92.25
    assert kd["rank"] is None
    assert kd["note"] == "only 2 of 3 cells finished with an accuracy"


def test_failed_and_missing_cells_of_one_row_are_both_told():
    failed = run("kd", 1, math.nan, status="FAILED", reason="no memory")
    runs = [*full()[:4], run("kd", 0, 90.0), failed]
    assert (
        line(runs, "kd")["note"]
        == "1 of 3 cells failed: no memory; only 1 of 3 cells finished with an accuracy"
    )


def test_a_method_that_cannot_run_on_a_pair_is_shown_with_its_reason_and_misses_nothing():
    plan = dataclasses.replace(PLAN, not_applicable={f"{PAIR}/at": "needs two maps"})
    runs = [*full()[:4], *row("kd", KD)]
    at = line(runs, "at", plan)
    assert (at["n"], at["planned"], at["rank"]) == (0, 0, None)
    assert at["note"] == "not applicable: needs two maps"
    assert methods(board(runs, plan)) == ["teacher", "kd", "student", "at"]


def test_rows_are_ranked_only_among_rows_with_equally_many_trials():
    table = board(tuned(), TUNED_PLAN)
    assert ranks(table) == {
        "teacher": None,
        "at (tuned)": 1,
        "kd (tuned)": 2,
        "kd": 1,
        "at": 2,
        "student (tuned)": 3,
        "student": 3,
    }
    assert list(ranks(table)) == methods(table)

    trials = dict(zip(table["method"], table["trials"], strict=True))
    assert (trials["kd"], trials["kd (tuned)"], trials["teacher"]) == (0, 20, pd.NA)


def test_rows_tuned_with_unequal_budgets_get_no_rank_and_a_note_says_so():
    table = board(tuned(), UNEQUAL_PLAN)
    ranked = {method: rank for method, rank in ranks(table).items() if rank}
    assert ranked == {"kd": 1, "at": 2, "student": 3}

    notes = dict(zip(table["method"], table["note"], strict=True))
    unequal = [method for method, note in notes.items() if note == UNEQUAL]
    assert unequal == ["at (tuned)", "kd (tuned)", "student (tuned)"]
    assert not notes["kd"]


def test_an_incomplete_tuned_row_takes_no_rank_from_the_other_tuned_rows():
    failed = run("at (tuned)", 2, math.nan, status="FAILED", reason="x")
    shown = ranks(board([*tuned()[:-1], failed], TUNED_PLAN))
    assert shown["at (tuned)"] is None
    assert shown["kd (tuned)"] == 1
    assert shown["student (tuned)"] == 2


def test_mean_ranks_are_among_rows_with_equal_budgets():
    tuned_rows = ("student (tuned)", "kd (tuned)")
    plan = dataclasses.replace(
        PLAN,
        pairs=("p", "q"),
        methods=("student", "kd", *tuned_rows),
        trials=dict.fromkeys(tuned_rows, 20),
    )
    runs = everywhere(plan, dict(zip(plan.methods, (90, 91, 93, 92), strict=True)))
    assert of_first_pair(runs, plan, ("mean_rank",)) == [
        ("student (tuned)", 1.0),
        ("kd (tuned)", 2.0),
        ("kd", 1.0),
        ("student", 2.0),
    ]


def test_a_row_alone_with_its_budget_has_no_mean_rank():
    plan = dataclasses.replace(
        PLAN, pairs=("p", "q"), methods=("student", "kd", "kd (tuned)"), trials={"kd (tuned)": 9}
    )
    runs = everywhere(plan, dict.fromkeys(plan.methods, 90))
    mean_ranks = board(runs, plan).set_index("method")["mean_rank"]
    assert mean_ranks[["kd", "student"]].tolist() == [1.5] * 4
    assert mean_ranks["kd (tuned)"].isna().all()


def test_a_row_that_misses_a_cell_on_one_pair_has_no_mean_rank_and_leaves_its_places_to_others():
    plan = dataclasses.replace(PLAN, pairs=("p", "q"))
    runs = everywhere(plan, {"student": 90, "kd": 91, "at": 99})
    assert of_first_pair(runs[:-1], plan, ("rank", "mean_rank")) == [
        ("at", 1, None),
        ("kd", 2, 1.0),
        ("student", 3, 2.0),
    ]
