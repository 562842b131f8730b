"""The tables as a whole: columns, order, means and intervals, against values worked by hand."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.leaderboard.table import COLUMNS
from tests.support.handmade import (
    AT,
    EIGHT,
    KD,
    PAIR,
    PLAN,
    STUDENT,
    T1,
    T2,
    board,
    full,
    line,
    methods,
    row,
    run,
    teacher,
)

NOT_FLOATS = ("trials", "significant", "published_source", "published_rule")


def test_the_table_has_the_promised_columns_and_types():
    table = board(full())
    assert tuple(table.columns) == COLUMNS
    assert table["rank"].dtype == table["trials"].dtype == "Int64"
    assert table["n"].dtype == table["planned"].dtype == "int64"

    floats = [name for name in COLUMNS[5:-1] if name not in NOT_FLOATS]
    assert all(table[name].dtype == "float64" for name in floats)


def test_the_teacher_stands_on_top_and_methods_follow_by_falling_mean():
    assert methods(board(full())) == ["teacher", "kd", "at", "student"]


def test_the_student_alone_stands_where_its_mean_puts_it():
    runs = [*full()[:4], *row("kd", (89.0, 90.0, 91.0)), *row("at", AT)]
    assert methods(board(runs)) == ["teacher", "at", "student", "kd"]


def test_the_teacher_is_one_network_with_its_own_costs():
    metrics = {"test_acc5": 99.0, "cost_params": 8.0e5, "cost_compute_tmac": 4.5}
    top = line([teacher(96.5, **metrics), *full()[1:]], "teacher")
    assert (top["n"], top["planned"], top["acc1"], top["rank"]) == (1, 1, 96.5, None)
    assert (top["acc5"], top["params"], top["compute_tmac"]) == (99.0, 8.0e5, 4.5)
    assert all(math.isnan(top[name]) for name in ("sd", "ci_low", "vs_student", "gap_closed"))


def test_mean_deviation_and_interval_are_those_worked_by_hand():
    kd = line(full(), "kd")
    mean = 278.5 / 3
    squares = (92 - mean) ** 2 + (92.5 - mean) ** 2 + (94 - mean) ** 2
    deviation = math.sqrt(squares / 2)
    half = T2 * deviation / math.sqrt(3)

    assert kd["acc1"] == pytest.approx(mean, rel=1e-14)
    assert kd["sd"] == pytest.approx(deviation, rel=1e-12)
    assert (kd["ci_low"], kd["ci_high"]) == pytest.approx((mean - half, mean + half), rel=1e-12)


def test_intervals_agree_with_scipy_over_eight_seeds():
    values = [70.1, 71.4, 69.8, 70.9, 70.2, 71.1, 70.6, 69.9]
    kd = line([*row("student", [70.0] * 8), *row("kd", values)], "kd", EIGHT)

    interval = stats.t.interval(0.95, 7, loc=sum(values) / 8, scale=stats.sem(values))
    assert (kd["ci_low"], kd["ci_high"]) == pytest.approx(interval, rel=1e-12)

    gain = stats.ttest_rel(values, [70.0] * 8).confidence_interval(0.95)
    limits = (kd["vs_student_low"], kd["vs_student_high"])
    assert limits == pytest.approx((gain.low, gain.high), rel=1e-10)


def test_one_seed_has_a_mean_but_no_spread_and_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0,))
    kd = line([teacher(), run("student", 0, 90.0), run("kd", 0, 92.0)], "kd", plan)
    assert (kd["n"], kd["acc1"], kd["vs_student"]) == (1, 92.0, 2.0)

    spread = ("sd", "ci_low", "ci_high", "vs_student_low", "vs_student_high")
    assert all(math.isnan(kd[name]) for name in spread)
    assert kd["rank"] is None
    assert kd["note"] == "n = 1: no rank with fewer than 3 seeds"


def test_two_seeds_have_an_interval_but_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    kd = line([*row("student", (50.0, 50.0)), *row("kd", (52.0, 54.0))], "kd", plan)
    assert kd["sd"] == pytest.approx(math.sqrt(2))
    assert kd["ci_high"] == pytest.approx(53 + T1)
    assert kd["rank"] is None
    assert kd["note"] == "n = 2: no rank with fewer than 3 seeds"


def test_an_interval_of_accuracies_ends_at_100_percent_and_one_of_differences_does_not():
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    kd = line([*row("student", (10.0, 50.0)), *row("kd", (92.0, 94.0))], "kd", plan)
    assert (kd["ci_low"], kd["ci_high"]) == (pytest.approx(93 - T1), 100.0)
    assert kd["vs_student_high"] > 100


def test_equal_results_have_an_interval_of_zero_width_around_their_own_value():
    kd = line([*row("student", (90.0,) * 3), *row("kd", (92.1,) * 3, cost_latency_ms=203.2)], "kd")
    assert (kd["acc1"], kd["sd"], kd["ci_low"], kd["ci_high"]) == (92.1, 0.0, 92.1, 92.1)
    assert kd["vs_student_low"] == kd["vs_student"] == kd["vs_student_high"]


def test_rows_without_a_finished_run_come_last_in_the_plans_order():
    plan = dataclasses.replace(PLAN, methods=("zeta", "student", "alpha", "kd"))
    table = board([teacher(), *row("student", STUDENT), *row("kd", KD)], plan)
    assert methods(table) == ["teacher", "kd", "student", "zeta", "alpha"]
    assert table["note"].tolist()[-2:] == ["only 0 of 3 cells finished with an accuracy"] * 2


def test_the_order_of_the_runs_changes_no_bit():
    runs = [*full(), run("at", 3, 90.0), run("kd", 1, math.nan, status="FAILED", reason="a")]
    expected = board(runs)
    for attempt in range(5):
        random.Random(attempt).shuffle(runs)
        pd.testing.assert_frame_equal(board(runs), expected, check_exact=True)


def test_the_order_of_the_plans_seeds_changes_no_bit():
    plan = dataclasses.replace(
        PLAN,
        pairs=tuple(f"p{number}" for number in range(11)),
        methods=("student", "kd", "at", "dkd"),
        seeds=(0, 1, 2, 3, 4),
    )
    noise = np.random.default_rng(0)
    runs = []
    for pair in plan.pairs:
        for name in plan.methods:
            runs += row(name, noise.normal(size=5), pair)

    expected = board(runs, plan)
    for seeds in ((4, 3, 2, 1, 0), (2, 0, 4, 1, 3)):
        other = board(runs, dataclasses.replace(plan, seeds=seeds))
        pd.testing.assert_frame_equal(other, expected, check_exact=True)


def test_other_metrics_are_means_over_seeds_and_empty_where_a_seed_lacks_them():
    kd = [
        run("kd", 0, 92.0, test_f1=90, test_ece=2),
        run("kd", 1, 92.0, test_f1=91, test_ece=math.nan),
        run("kd", 2, 92.0, test_f1=95, test_ece=3),
    ]
    shown = line([*full()[:4], *kd], "kd")
    assert shown["f1"] == 92.0
    assert math.isnan(shown["ece"])
    assert math.isnan(shown["agreement"])


def test_a_study_that_has_not_begun_has_a_whole_but_empty_table():
    table = board([])
    assert methods(table) == ["teacher", "student", "kd", "at"]
    assert table["n"].tolist() == [0] * 4
    assert table["planned"].tolist() == [1, 3, 3, 3]
    assert table["rank"].isna().all()


def test_several_pairs_are_ranked_apart_in_the_plans_order():
    plan = dataclasses.replace(PLAN, pairs=("b", "a"), methods=("student", "kd"))
    runs = [
        *row("student", STUDENT, "a"),
        *row("kd", KD, "a"),
        *row("student", KD, "b"),
        *row("kd", STUDENT, "b"),
    ]
    table = board(runs, plan)
    assert table["pair"].tolist() == ["b"] * 3 + ["a"] * 3
    assert table["method"].tolist() == ["teacher", "student", "kd", "teacher", "kd", "student"]
    assert table["rank"].tolist() == [pd.NA, 1, 2, pd.NA, 1, 2]


def test_best_minus_last_is_a_mean_over_seeds_that_changes_no_other_column():
    kd = row("kd", KD)
    for entry, gap in zip(kd, (0.5, 0.0, 1.0), strict=True):
        entry["val/best_minus_last"] = gap
    table = board([teacher(), *row("student", STUDENT), *kd, *row("at", AT)])

    gaps = table.set_index("method")["best_minus_last"]
    assert gaps["kd"] == 0.5
    assert gaps.drop("kd").isna().all()

    without = board(full())
    pd.testing.assert_frame_equal(
        table.drop(columns="best_minus_last"), without.drop(columns="best_minus_last")
    )


def test_every_number_of_a_table_is_the_one_worked_by_hand():
    runs = [
        teacher(96),
        *row("student", [90, 91, 92]),
        *row("kd", [93, 93, 93]),
        *row("at", [94, 92, 90]),
    ]
    table = board(runs).set_index("method")

    # Half widths of the intervals of values whose deviations are 1, 2 and 3.
    one = T2 / math.sqrt(3)
    two = 2 * one
    three = 3 * one
    # Differences: kd to the student alone 3, 2, 1; at to it 4, 1, -2; at to kd 1, -1, -3.
    # p: 2 of 8, three times; 4, 1, -2 and 1, -1, -3 sum to 3 or more in size in 6 of 8, and twice
    # that is above 1.
    none = None
    expected = {
        "rank": (none, 1, 2, 3),
        "n": (1, 3, 3, 3),
        "planned": (1, 3, 3, 3),
        "acc1": (96, 93, 92, 91),
        "sd": (none, 0, 2, 1),
        "ci_low": (none, 93, 92 - two, 91 - one),
        "ci_high": (none, 93, 92 + two, 91 + one),
        "vs_student": (none, 2, 1, none),
        "vs_student_low": (none, 2 - one, 1 - three, none),
        "vs_student_high": (none, 2 + one, 1 + three, none),
        "gap_closed": (none, 40, 20, none),
        "vs_kd": (none, none, -1, -2),
        "vs_kd_low": (none, none, -1 - two, -2 - one),
        "vs_kd_high": (none, none, -1 + two, -2 + one),
        "p_student": (none, 0.75, 1, none),
        "p_kd": (none, none, 1, none),
        "trials": (none, 0, 0, 0),
    }
    texts = {
        "pair": PAIR,
        "significant": "",
        "note": "",
        "published_source": "",
        "published_rule": "",
    }

    assert table.index.tolist() == ["teacher", "kd", "at", "student"]
    for name, values in expected.items():
        numbers = [math.nan if value is none else value for value in values]
        shown = table[name].astype("float64").tolist()
        assert shown == pytest.approx(numbers, abs=1e-12, nan_ok=True), name
    for name, text in texts.items():
        assert set(table[name]) == {text}

    others = [name for name in table if name not in {**expected, **texts}]
    assert table[others].isna().all(axis=None)
