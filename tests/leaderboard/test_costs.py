"""The table of costs: medians of what was measured, and computed costs."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from benchmark.leaderboard.table import COST_COLUMNS, costs
from tests.support.handmade import (
    KD,
    PLAN,
    STUDENT,
    TUNED_PLAN,
    board,
    methods,
    row,
    run,
    teacher,
    with_costs,
)


def cost_table(runs, plan=PLAN):
    """The costs of these runs, by method."""
    return costs(pd.DataFrame(runs), plan).set_index("method")


def test_costs_are_medians_over_the_finished_runs_that_measured_them_in_plan_order():
    runs = [
        teacher(cost_train_seconds=99.0),
        *row("student", STUDENT),
        run("kd", 0, 92.0, cost_train_seconds=10, cost_latency_ms=1.5),
        run("kd", 1, 92.0, cost_train_seconds=20, cost_latency_ms=math.nan),
        run("kd", 2, math.nan, status="FAILED", cost_train_seconds=1000.0),
    ]
    table = costs(pd.DataFrame(runs), PLAN)
    nan = math.nan
    assert tuple(table.columns) == COST_COLUMNS
    assert methods(table) == ["teacher", "student", "kd", "at"]
    assert table["train_seconds"].tolist() == pytest.approx([99.0, nan, 15.0, nan], nan_ok=True)
    assert table["latency_ms"].tolist() == pytest.approx([nan, nan, 1.5, nan], nan_ok=True)


def test_one_run_on_a_busy_machine_does_not_move_a_latency():
    kd = [run("kd", seed, 92.0, cost_latency_ms=ms) for seed, ms in enumerate((0.7, 6.0, 0.8))]
    assert cost_table(kd).loc["kd", "latency_ms"] == 0.8


def test_costs_of_equal_seconds_are_those_seconds():
    table = cost_table(row("kd", KD, cost_teacher_seconds=203.2))
    assert table.loc["kd", "teacher_seconds"] == 203.2


def test_costs_hold_parameters_compute_relative_to_the_student_alone_and_the_effort_of_the_search():
    runs = [*with_costs(), *row("kd (tuned)", KD, cost_params=100.0, cost_compute_tmac=3.0)]
    table = cost_table(runs, TUNED_PLAN)
    assert table["compute_factor"].dropna().to_dict() == {
        "teacher": 4.0,
        "student": 1.0,
        "kd": 1.5,
        "at": 2.5,
        "kd (tuned)": 1.5,
    }
    assert table.loc[["teacher", "kd", "at"], "params"].tolist() == [900.0, 100.0, 150.0]
    assert table["trials"].tolist() == [pd.NA, 0, 0, 0, 20, 20, 20]
    assert table["search_tmac"].dropna().to_dict() == {"kd (tuned)": 12.5}


def test_computed_costs_are_those_of_the_leaderboard():
    runs = [*with_costs(), *row("kd (tuned)", KD, cost_params=100.0, cost_compute_tmac=3.0)]
    table = cost_table(runs, TUNED_PLAN)
    results = board(runs, TUNED_PLAN).set_index("method")
    for name in ("params", "compute_tmac", "compute_factor", "trials", "search_tmac"):
        pd.testing.assert_series_equal(results[name].sort_index(), table[name].sort_index())


def test_without_the_student_alone_compute_is_relative_to_nothing():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    table = board(with_costs(), plan)
    assert table["compute_factor"].isna().all()
    assert table["note"].tolist() == ["", "", ""]
