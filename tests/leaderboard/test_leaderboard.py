"""The leaderboard's numbers, against hand-made tables of runs and values computed by hand or by scipy."""

from __future__ import annotations

import dataclasses
import math
import random

import pandas as pd
import pytest
from scipy import stats

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.table import COLUMNS, COST_COLUMNS, costs
from tests.support.handmade import (
    AT,
    KD,
    PAIR,
    PLAN,
    STUDENT,
    TUNED_PLAN,
    UNEQUAL,
    UNEQUAL_PLAN,
    board,
    full,
    line,
    methods,
    row,
    run,
    teacher,
    tuned,
)

TEXTS = ("trials", "significant", "published_source", "published_rule")

T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))
"""The 97.5 % quantile of Student's t with two degrees of freedom, in closed form."""


def test_the_table_has_the_promised_columns_and_types():
    table = board(full())
    assert tuple(table.columns) == COLUMNS
    assert table["rank"].dtype == table["trials"].dtype == "Int64"
    assert table["n"].dtype == table["planned"].dtype == "int64"
    assert all(table[name].dtype == "float64" for name in COLUMNS[5:-1] if name not in TEXTS)


def test_the_teacher_stands_on_top_and_methods_follow_by_falling_mean():
    assert methods(board(full())) == ["teacher", "kd", "at", "student"]


def test_the_student_alone_stands_where_its_mean_puts_it():
    runs = [*full()[:4], *row("kd", (89.0, 90.0, 91.0)), *row("at", AT)]
    assert methods(board(runs)) == ["teacher", "at", "student", "kd"]


def test_mean_deviation_and_interval_are_those_worked_by_hand():
    kd = line(full(), "kd")
    mean, sd = (
        278.5 / 3,
        math.sqrt(((92 - 278.5 / 3) ** 2 + (92.5 - 278.5 / 3) ** 2 + (94 - 278.5 / 3) ** 2) / 2),
    )
    half = T2 * sd / math.sqrt(3)
    assert kd["acc1"] == pytest.approx(mean, rel=1e-14)
    assert kd["sd"] == pytest.approx(sd, rel=1e-12)
    assert (kd["ci_low"], kd["ci_high"]) == pytest.approx((mean - half, mean + half), rel=1e-12)


def test_intervals_agree_with_scipy_over_eight_seeds():
    values = [70.1, 71.4, 69.8, 70.9, 70.2, 71.1, 70.6, 69.9]
    plan = dataclasses.replace(PLAN, seeds=tuple(range(8)))
    kd = line([*row("student", [70.0] * 8), *row("kd", values)], "kd", plan)
    expected = stats.t.interval(0.95, 7, loc=sum(values) / 8, scale=stats.sem(values))
    assert (kd["ci_low"], kd["ci_high"]) == pytest.approx(expected, rel=1e-12)
    gain = stats.ttest_rel(values, [70.0] * 8).confidence_interval(0.95)
    assert (kd["vs_student_low"], kd["vs_student_high"]) == pytest.approx(
        (gain.low, gain.high), rel=1e-10
    )


def test_the_difference_to_the_student_is_paired_by_seed():
    at = line(full(), "at")
    half = T2 * 1.0 / math.sqrt(3)  # differences 1, 2, 0
    assert at["vs_student"] == 1.0
    assert (at["vs_student_low"], at["vs_student_high"]) == pytest.approx(
        (1 - half, 1 + half), rel=1e-12
    )


def test_a_paired_difference_uses_only_the_seeds_that_both_rows_have():
    student = [run("student", 0, 90.0), run("student", 2, 93.0)]
    runs = [teacher(), *student, run("kd", 0, 91.0), run("kd", 1, 99.0), run("kd", 2, 96.0)]
    kd = line(runs, "kd")
    assert kd["acc1"] == pytest.approx(286 / 3)
    assert kd["vs_student"] == 2.0
    assert kd["vs_student_high"] == pytest.approx(
        2 + stats.t.ppf(0.975, 1) * 1.0, rel=1e-12
    )  # differences 1 and 3
    assert kd["gap_closed"] == pytest.approx(100 * 2 / (96 - 91.5))
    assert kd["note"] == "paired with the student alone on 2 of 3 seeds"


def test_without_a_common_seed_there_is_no_difference_and_no_gap():
    kd = line([teacher(), run("student", 0, 90.0), run("kd", 1, 91.0), run("kd", 2, 92.0)], "kd")
    assert math.isnan(kd["vs_student"])
    assert math.isnan(kd["gap_closed"])
    assert kd["note"] == "2 of 3 cells finished; paired with the student alone on 0 of 2 seeds"


def test_the_gap_closed_is_the_gain_over_the_teachers_lead_in_percent():
    assert line(full(), "at")["gap_closed"] == pytest.approx(100 * 1 / 5)
    assert line(full(), "kd")["gap_closed"] == pytest.approx(100 * (278.5 / 3 - 91) / 5)


def test_the_row_of_the_student_alone_is_not_compared_with_itself():
    student = line(full(), "student")
    assert all(
        math.isnan(student[name])
        for name in ("vs_student", "vs_student_low", "vs_student_high", "gap_closed")
    )
    assert student["note"] == ""
    assert student["rank"] == 3


def test_a_teacher_worse_than_the_student_alone_closes_no_gap_and_the_note_says_so():
    runs = [teacher(90.5), *full()[1:]]
    kd = line(runs, "kd")
    assert math.isnan(kd["gap_closed"])
    assert kd["note"] == "the teacher is not better than the student alone: no gap to close"
    assert kd["rank"] == 1
    assert kd["vs_student"] == pytest.approx(278.5 / 3 - 91)
    at = line([teacher(90.5), *tuned()[1:]], "at (tuned)", TUNED_PLAN)
    assert at["note"] == "the teacher is not better than student (tuned): no gap to close"


def test_a_teacher_exactly_as_good_as_the_student_alone_closes_no_gap():
    assert math.isnan(line([teacher(91.0), *full()[1:]], "kd")["gap_closed"])


def test_a_study_without_the_student_alone_shows_no_differences_and_still_ranks():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    table = board([teacher(), *row("kd", KD), *row("at", AT)], plan)
    assert table["vs_student"].isna().all()
    assert table["gap_closed"].isna().all()
    assert table["rank"].tolist() == [pd.NA, 1, 2]


def test_equal_means_share_the_lower_rank_and_keep_the_plans_order():
    plan = dataclasses.replace(PLAN, methods=("student", "kd", "at", "dkd"))
    # The same decimals in another order, and others with the same sum, whose binary mean is larger by one bit.
    runs = [
        *row("student", (60.0,) * 3),
        *row("kd", (70.0, 70.1, 70.3)),
        *row("at", (70.3, 70.0, 70.1)),
    ]
    table = board([*runs, *row("dkd", (70.0, 70.0, 70.4))], plan)
    assert methods(table) == ["teacher", "kd", "at", "dkd", "student"]
    assert table["rank"].tolist() == [pd.NA, 1, 1, 1, 4]


def test_a_row_with_a_failed_cell_keeps_its_place_but_gets_no_rank():
    runs = [*full()[:4], run("kd", 0, 99.0), run("kd", 1, math.nan, status="FAILED", reason="loss is\n  nan"),
            run("kd", 2, 99.0), *row("at", AT)]  # fmt: skip
    table = board(runs)
    assert methods(table) == ["teacher", "kd", "at", "student"]
    assert table["rank"].tolist() == [pd.NA, pd.NA, 1, 2]
    kd = line(runs, "kd")
    assert (kd["n"], kd["planned"], kd["acc1"]) == (2, 3, 99.0)
    assert kd["note"] == "1 of 3 cells failed: loss is nan"


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_a_row_with_a_missing_cell_gets_no_rank(status):
    missing = [run("kd", 2, 99.9, status=status)]  # an unfinished run's accuracy counts for nothing
    kd = line([*full()[:4], *row("kd", KD[:2]), *missing], "kd")
    assert kd["n"] == 2
    assert kd["acc1"] == 92.25
    assert kd["rank"] is None
    assert kd["note"] == "2 of 3 cells finished"


def test_failed_and_missing_cells_of_one_row_are_both_told():
    runs = [
        *full()[:4],
        run("kd", 0, 90.0),
        run("kd", 1, math.nan, status="FAILED", reason="no memory"),
    ]
    assert line(runs, "kd")["note"] == "1 of 3 cells failed: no memory; 1 of 3 cells finished"


def test_one_seed_has_a_mean_but_no_spread_and_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0,))
    kd = line([teacher(), run("student", 0, 90.0), run("kd", 0, 92.0)], "kd", plan)
    assert (kd["n"], kd["acc1"], kd["vs_student"]) == (1, 92.0, 2.0)
    assert all(
        math.isnan(kd[name])
        for name in ("sd", "ci_low", "ci_high", "vs_student_low", "vs_student_high")
    )
    assert kd["rank"] is None
    assert kd["note"] == "n = 1: no rank under 3 seeds"


def test_two_seeds_have_an_interval_but_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    kd = line([*row("student", (90.0, 90.0)), *row("kd", (92.0, 94.0))], "kd", plan)
    assert kd["sd"] == pytest.approx(math.sqrt(2))
    assert kd["ci_high"] == pytest.approx(93 + math.tan(math.pi * 0.475))
    assert kd["rank"] is None
    assert kd["note"] == "n = 2: no rank under 3 seeds"


def test_equal_results_have_an_interval_of_zero_width_around_their_own_value():
    kd = line([*row("student", (90.0,) * 3), *row("kd", (92.1,) * 3, cost_latency_ms=203.2)], "kd")
    assert (kd["acc1"], kd["sd"], kd["ci_low"], kd["ci_high"]) == (92.1, 0.0, 92.1, 92.1)
    assert kd["vs_student_low"] == kd["vs_student"] == kd["vs_student_high"]


def test_a_method_that_cannot_run_on_a_pair_is_shown_with_its_reason_and_misses_nothing():
    plan = dataclasses.replace(PLAN, not_applicable={f"{PAIR}/at": "needs two maps"})
    runs = [*full()[:4], *row("kd", KD)]
    at = line(runs, "at", plan)
    assert (at["n"], at["planned"], at["rank"]) == (0, 0, None)
    assert at["note"] == "not applicable: needs two maps"
    assert methods(board(runs, plan)) == ["teacher", "kd", "student", "at"]


def test_rows_without_a_finished_run_come_last_in_the_plans_order():
    plan = dataclasses.replace(PLAN, methods=("zeta", "student", "alpha", "kd"))
    table = board([teacher(), *row("student", STUDENT), *row("kd", KD)], plan)
    assert methods(table) == ["teacher", "kd", "student", "zeta", "alpha"]
    assert table["note"].tolist()[-2:] == ["0 of 3 cells finished"] * 2


def test_the_order_of_the_runs_changes_no_bit():
    runs = [*full(), run("at", 3, 90.0), run("kd", 1, math.nan, status="FAILED", reason="a")]
    expected = board(runs)
    for attempt in range(5):
        random.Random(attempt).shuffle(runs)
        pd.testing.assert_frame_equal(board(runs), expected, check_exact=True)


def test_the_teacher_is_one_network_with_its_own_costs():
    metrics = {"test_acc5": 99.0, "cost_params": 8.0e5, "cost_compute_tmac": 4.5}
    top = line([teacher(96.5, **metrics), *full()[1:]], "teacher")
    assert (top["n"], top["planned"], top["acc1"], top["rank"]) == (1, 1, 96.5, None)
    assert (top["acc5"], top["params"], top["compute_tmac"]) == (99.0, 8.0e5, 4.5)
    assert all(math.isnan(top[name]) for name in ("sd", "ci_low", "vs_student", "gap_closed"))


def test_a_teacher_that_failed_or_is_missing_keeps_its_row():
    failed = line([teacher(math.nan, status="FAILED", reason="diverged"), *full()[1:]], "teacher")
    assert (failed["n"], failed["note"]) == (0, "failed: diverged")
    missing = line(full()[1:], "teacher")
    assert (missing["n"], missing["note"]) == (
        0,
        "the teacher has no finished run with an accuracy",
    )
    assert math.isnan(line(full()[1:], "kd")["gap_closed"])


def test_other_metrics_are_means_over_seeds_and_empty_where_a_seed_lacks_them():
    kd = [
        run("kd", seed, 92.0, test_f1=f1, test_ece=ece)
        for seed, f1, ece in ((0, 90, 2), (1, 91, math.nan), (2, 95, 3))
    ]
    found = line([*full()[:4], *kd], "kd")
    assert found["f1"] == 92.0
    assert math.isnan(found["ece"])
    assert math.isnan(found["agreement"])


def test_a_study_that_has_not_begun_has_a_whole_but_empty_table():
    table = board([])
    assert methods(table) == ["teacher", "student", "kd", "at"]
    assert table["n"].tolist() == [0] * 4
    assert table["planned"].tolist() == [1, 3, 3, 3]
    assert table["rank"].isna().all()


def test_costs_are_medians_over_the_finished_runs_that_measured_them_in_plan_order():
    kd = [
        run("kd", seed, 92.0, cost_train_seconds=s, cost_latency_ms=ms)
        for seed, s, ms in ((0, 10, 1.5), (1, 20, math.nan))
    ]
    failed = run("kd", 2, math.nan, status="FAILED", cost_train_seconds=1000.0)
    table = costs(
        pd.DataFrame([teacher(cost_train_seconds=99.0), *row("student", STUDENT), *kd, failed]),
        PLAN,
    )
    assert tuple(table.columns) == COST_COLUMNS
    assert methods(table) == ["teacher", "student", "kd", "at"]
    assert table["train_seconds"].tolist() == pytest.approx(
        [99.0, math.nan, 15.0, math.nan], nan_ok=True
    )
    assert table["latency_ms"].tolist() == pytest.approx(
        [math.nan, math.nan, 1.5, math.nan], nan_ok=True
    )


def test_one_run_on_a_busy_machine_does_not_move_a_latency():
    kd = [run("kd", seed, 92.0, cost_latency_ms=ms) for seed, ms in enumerate((0.7, 6.0, 0.8))]
    assert costs(pd.DataFrame(kd), PLAN).set_index("method").loc["kd", "latency_ms"] == 0.8


def test_costs_of_equal_seconds_are_those_seconds():
    table = costs(pd.DataFrame(row("kd", KD, cost_teacher_seconds=203.2)), PLAN)
    assert table.set_index("method").loc["kd", "teacher_seconds"] == 203.2


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


def ranks(table):
    return {
        method: None if pd.isna(rank) else rank
        for method, rank in zip(table["method"], table["rank"], strict=True)
    }


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
    assert {method: rank for method, rank in ranks(table).items() if rank} == {
        "kd": 1,
        "at": 2,
        "student": 3,
    }
    notes = dict(zip(table["method"], table["note"], strict=True))
    assert [method for method, note in notes.items() if note == UNEQUAL] == [
        "at (tuned)",
        "kd (tuned)",
        "student (tuned)",
    ]
    assert not notes["kd"]


def test_an_incomplete_tuned_row_takes_no_rank_from_the_other_tuned_rows():
    table = board(
        [*tuned()[:-1], run("at (tuned)", 2, math.nan, status="FAILED", reason="x")], TUNED_PLAN
    )
    found = ranks(table)
    assert (found["at (tuned)"], found["kd (tuned)"], found["student (tuned)"]) == (None, 1, 2)


def test_the_gain_of_tuning_is_paired_by_seed_with_the_published_row():
    kd = line(tuned(), "kd (tuned)", TUNED_PLAN)
    # 93.0 - 92.0, 93.5 - 92.5, 94.0 - 94.0: 1, 1, 0 with mean 2/3 and variance 1/3, so sd / sqrt(3) is 1/3
    assert kd["vs_untuned"] == pytest.approx(2 / 3, rel=1e-12)
    assert kd["vs_untuned_low"] == pytest.approx(2 / 3 - T2 / 3, rel=1e-12)
    assert kd["vs_untuned_high"] == pytest.approx(2 / 3 + T2 / 3, rel=1e-12)
    assert kd["vs_student"] == 2.0  # to the tuned student alone: 2.5, 2, 1.5
    student = line(tuned(), "student (tuned)", TUNED_PLAN)
    assert (student["vs_untuned"], student["vs_untuned_low"], student["note"]) == (0.5, 0.5, "")
    assert math.isnan(line(tuned(), "kd", TUNED_PLAN)["vs_untuned"])


def test_the_gain_of_tuning_counts_only_shared_seeds_and_the_note_says_so():
    runs = [entry for entry in tuned() if (entry["method"], entry["seed"]) != ("kd", 1)]
    kd = line(runs, "kd (tuned)", TUNED_PLAN)
    assert kd["vs_untuned"] == 0.5  # 1 and 0, of seeds 0 and 2
    assert kd["note"] == "paired with kd on 2 of 3 seeds"
    runs = [entry for entry in tuned() if entry["method"] != "kd"]
    assert math.isnan(line(runs, "kd (tuned)", TUNED_PLAN)["vs_untuned"])


def test_a_seed_that_the_student_alone_lacks_is_told_once_about_its_tuned_row():
    runs = [entry for entry in tuned() if (entry["method"], entry["seed"]) != ("student", 1)]
    note = line(runs, "student (tuned)", TUNED_PLAN)["note"]
    assert note == "paired with the student alone on 2 of 3 seeds"


def test_a_row_is_compared_with_published_settings_only_if_it_was_tuned_and_they_are_in_the_table():
    by_hand = dataclasses.replace(TUNED_PLAN, trials={"at (tuned)": 20})
    assert math.isnan(line(tuned(), "kd (tuned)", by_hand)["vs_untuned"])
    alone = dataclasses.replace(
        TUNED_PLAN, methods=("student", "kd (tuned)"), trials={"kd (tuned)": 20}
    )
    kd = line(tuned(), "kd (tuned)", alone)
    assert math.isnan(kd["vs_untuned"])
    assert (kd["rank"], kd["note"]) == (1, "")


def counted():
    """The student alone computes 2 TMAC with 100 parameters; kd 3 with as many; at 5 with 150."""
    return [
        teacher(cost_params=900.0, cost_compute_tmac=8.0),
        *row("student", STUDENT, cost_params=100.0, cost_compute_tmac=2.0),
        *row("kd", KD, cost_params=100.0, cost_compute_tmac=3.0),
        *row("at", AT, cost_params=150.0, cost_compute_tmac=5.0),
    ]


def test_costs_hold_parameters_compute_relative_to_the_student_alone_and_the_effort_of_the_search():
    runs = [*counted(), *row("kd (tuned)", KD, cost_params=100.0, cost_compute_tmac=3.0)]
    table = costs(pd.DataFrame(runs), TUNED_PLAN).set_index("method")
    assert table["compute_factor"].dropna().to_dict() == {
        "teacher": 4.0, "student": 1.0, "kd": 1.5, "at": 2.5, "kd (tuned)": 1.5,
    }  # fmt: skip
    assert table.loc[["teacher", "kd", "at"], "params"].tolist() == [900.0, 100.0, 150.0]
    assert table["trials"].tolist() == [pd.NA, 0, 0, 0, 20, 20, 20]
    assert table["search_tmac"].dropna().to_dict() == {"kd (tuned)": 12.5}
    shown = board(runs, TUNED_PLAN).set_index("method")
    for name in ("params", "compute_tmac", "compute_factor", "trials", "search_tmac"):
        pd.testing.assert_series_equal(shown[name].sort_index(), table[name].sort_index())


def test_without_the_student_alone_compute_is_relative_to_nothing():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    table = board(counted(), plan)
    assert table["compute_factor"].isna().all()
    assert table["note"].tolist() == ["", "", ""]


def test_a_note_names_the_rows_whose_network_at_inference_is_not_the_bare_student():
    table = board(counted())
    notes = dict(zip(table["method"], table["note"], strict=True))
    told = "the network at inference is not the bare student: its parameters differ from the student alone's"
    assert notes == {"teacher": "", "kd": "", "at": told, "student": ""}
    assert ranks(table)["at"] == 2


def test_parameters_that_are_not_known_are_no_other_network():
    runs = [*counted()[:7], *row("at", AT, cost_compute_tmac=5.0)]
    assert line(runs, "at")["note"] == ""


def test_best_minus_last_is_a_mean_over_seeds_that_changes_no_rank_and_is_told_to_be_a_diagnostic():
    gaps = [
        run("kd", seed, acc1) | {"val/best_minus_last": gap}
        for seed, acc1, gap in zip((0, 1, 2), KD, (0.5, 0.0, 1.0), strict=True)
    ]
    runs = [teacher(), *row("student", STUDENT), *gaps, *row("at", AT)]
    table = board(runs)
    found = table.set_index("method")["best_minus_last"]
    assert found["kd"] == 0.5
    assert found.drop("kd").isna().all()
    assert "best_minus_last" in COLUMNS
    without = board(full())
    pd.testing.assert_frame_equal(
        table.drop(columns="best_minus_last"), without.drop(columns="best_minus_last")
    )
    assert "on the validation images: a diagnostic, never a result." in footnotes(table, PLAN)[-1]
    assert not any("diagnostic" in note for note in footnotes(without, PLAN))
