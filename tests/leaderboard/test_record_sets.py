"""Twelve small record sets whose ranks and p values were worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from benchmark.leaderboard.environments import MixedEnvironmentsError
from benchmark.leaderboard.footnotes import footnotes
from tests.support.handmade import (
    EIGHT,
    PLAN,
    SIX,
    T1,
    UNEQUAL,
    board,
    line,
    lines,
    over_pairs,
    row,
)

TESTED = ("rank", "n", "vs_kd", "p_student", "p_kd", "significant")


def test_record_set_1_ties_share_a_rank_and_differ_by_nothing_from_each_other():
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6), *row("at", [92, 90, 92, 90, 92, 90])]
    # at against the student: 2, 0, 2, 0, 2, 0, extreme are 2 of the 8 signs of the 2s. at against
    # kd: mean 0. kd: 2 of 64 = 0.03125. Of three comparisons the smallest p counts three times, the
    # next one twice.
    assert lines(runs, SIX, TESTED) == [
        ("kd", 1, 6, None, 0.09375, None, ""),
        ("at", 1, 6, 0.0, 0.5, 1.0, ""),
        ("student", 3, 6, -1.0, None, None, ""),
    ]


def test_record_set_2_a_row_with_a_missing_cell_is_not_tested_and_not_counted():
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6), *row("at", [95] * 5)]
    # Only kd is left to correct for: 2 of 64.
    assert lines(runs, SIX, (*TESTED, "note")) == [
        ("at", None, 5, 4.0, None, None, "", "only 5 of 6 cells finished with an accuracy"),
        ("kd", 1, 6, None, 0.03125, None, "student", ""),
        ("student", 2, 6, -1.0, None, None, "", ""),
    ]


def test_record_set_3_a_failed_cell_is_shown_with_its_reason_and_takes_rank_and_test():
    failed = row("kd", [None, None, math.nan], status="FAILED", reason="loss is nan")
    runs = [*row("student", [90, 91, 92]), *row("kd", [93, 94]), *failed, *row("at", [91, 92, 93])]
    # at is one above the student alone with all three seeds: 2 of 8, and the only comparison.
    assert lines(runs, PLAN, ("rank", "n", "vs_kd", "p_student", "p_kd", "note")) == [
        ("kd", None, 2, None, None, None, "1 of 3 cells failed: loss is nan"),
        ("at", 1, 3, -2.0, 0.25, None, "paired with kd on 2 of 3 seeds"),
        ("student", 2, 3, -3.0, None, None, ""),
    ]


def test_record_set_4_one_seed_has_differences_but_no_interval_rank_or_p_value():
    plan = dataclasses.replace(PLAN, seeds=(0,))
    runs = [*row("student", [90]), *row("kd", [91]), *row("at", [93])]
    note = "n = 1: no rank with fewer than 3 seeds"
    columns = ("rank", "n", "vs_kd", "vs_kd_low", "p_student", "p_kd", "note")
    assert lines(runs, plan, columns) == [
        ("at", None, 1, 2.0, None, None, None, note),
        ("kd", None, 1, None, None, None, None, note),
        ("student", None, 1, -1.0, None, None, None, note),
    ]


def test_record_set_5_two_seeds_have_p_values_of_a_half_at_least_and_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    runs = [*row("student", [90, 90]), *row("kd", [91, 91]), *row("at", [92, 94])]
    # 2 of 4, three times: at most 1.
    assert lines(runs, plan, TESTED) == [
        ("at", None, 2, 2.0, 1.0, 1.0, ""),
        ("kd", None, 2, None, 1.0, None, ""),
        ("student", None, 2, -1.0, None, None, ""),
    ]

    # at is 1 and 3 above kd: mean 2, half width t(0.975, 1) sqrt(2) / sqrt(2)
    at = line(runs, "at", plan)
    assert (at["vs_kd_low"], at["vs_kd_high"]) == pytest.approx((2 - T1, 2 + T1))
    notes = " ".join(footnotes(board(runs, plan), plan))
    assert "the smallest possible p is 2/2^2 = 0.5" in notes


def test_record_set_6_six_seeds_can_make_one_row_significant_and_not_two():
    plan = dataclasses.replace(SIX, methods=("student", "kd"))
    runs = [*row("student", [90] * 6), *row("kd", [91, 92, 91, 92, 91, 92])]
    assert lines(runs, plan, TESTED) == [
        ("kd", 1, 6, None, 0.03125, None, "student"),
        ("student", 2, 6, -1.5, None, None, ""),
    ]

    runs += row("at", [99] * 6)
    assert lines(runs, SIX, TESTED) == [
        ("at", 1, 6, 7.5, 0.09375, 0.09375, ""),
        ("kd", 2, 6, None, 0.09375, None, ""),
        ("student", 3, 6, -1.5, None, None, ""),
    ]
    notes = " ".join(footnotes(board(runs, SIX), SIX))
    assert "3 tests to correct for, the smallest possible p is 3 x 2/2^6 = 0.09375" in notes


def test_record_set_7_rows_tuned_with_unequal_budgets_are_neither_ranked_nor_tested():
    plan = dataclasses.replace(
        EIGHT,
        methods=("student", "kd", "student (tuned)", "kd (tuned)", "at (tuned)"),
        trials={"student (tuned)": 20, "kd (tuned)": 5, "at (tuned)": 20},
    )
    runs = [
        *row("student", [90] * 8),
        *row("kd", [92] * 8),
        *row("student (tuned)", [91] * 8),
        *row("kd (tuned)", [93] * 8),
        *row("at (tuned)", [94] * 8),
    ]
    # Tested are kd against the student alone and the tuned at against the tuned student: 2 of 256
    # each, twice that.
    assert lines(runs, plan, ("rank", "vs_kd", "p_student", "p_kd", "significant", "note")) == [
        ("at (tuned)", None, None, 0.015625, None, "student", UNEQUAL),
        ("kd (tuned)", None, None, None, None, "", UNEQUAL),
        ("kd", 1, None, 0.015625, None, "student", ""),
        ("student (tuned)", None, None, None, None, "", UNEQUAL),
        ("student", 2, -2.0, None, None, "", ""),
    ]


def test_record_set_8_runs_of_several_environments_are_refused_unless_asked_for_and_then_marked():
    here = "device cpu, torch 2.11"
    there = "device cuda, torch 2.11"
    runs = [
        *row("student", [90, 91, 92], fingerprint=here),
        *row("kd", [91, 92, 93], fingerprint=here),
        *row("at", [92, 93], fingerprint=here),
        *row("at", [None, None, 94], fingerprint=there),
    ]
    columns = ("rank", "vs_kd", "p_student", "p_kd", "note")
    message = (
        r"of r56-r20 were trained in different environments \(8 in device cpu; 1 in device cuda\)"
        r".*--mix-environments"
    )
    with pytest.raises(MixedEnvironmentsError, match=message):
        lines(runs, PLAN, columns)

    marked = "1 of 3 runs was trained in another environment (device cuda)"
    assert lines(runs, PLAN, columns, mix_environments=True) == [
        ("at", 1, 1.0, 0.75, 0.75, marked),
        ("kd", 2, None, 0.75, None, ""),
        ("student", 3, -1.0, None, None, ""),
    ]

    runs[-1]["fingerprint"] = ""  # recorded before there were fingerprints
    assert [values[-1] for values in lines(runs, PLAN, ("note",))] == ["", "", ""]


def test_record_set_9_one_pair_has_no_mean_rank():
    runs = [*row("student", [90, 91, 92]), *row("kd", [91, 92, 93]), *row("at", [94, 94, 94])]
    assert lines(runs, PLAN, ("rank", "mean_rank", "mean_rank_low")) == [
        ("at", 1, None, None),
        ("kd", 2, None, None),
        ("student", 3, None, None),
    ]
    # All of one sign, 2 of 8, and three comparisons.
    assert lines(runs, PLAN, ("p_student", "p_kd")) == [
        ("at", 0.75, 0.75),
        ("kd", 0.75, None),
        ("student", None, None),
    ]


def test_record_set_10_several_pairs_have_mean_ranks_and_five_have_friedmans_test():
    runs, plan = over_pairs(2)
    assert lines(runs, plan, ("rank", "mean_rank", "mean_rank_low", "mean_rank_high")) == [
        ("p0", "at", 1, 1.5, 1.5, 1.5),
        ("p0", "kd", 2, 1.5, 1.5, 1.5),
        ("p0", "student", 3, 3.0, 3.0, 3.0),
        ("p1", "kd", 1, 1.5, 1.5, 1.5),
        ("p1", "at", 2, 1.5, 1.5, 1.5),
        ("p1", "student", 3, 3.0, 3.0, 3.0),
    ]
    assert "Friedman" not in " ".join(footnotes(board(runs, plan), plan))

    runs, plan = over_pairs(5)
    assert "Friedman" in " ".join(footnotes(board(runs, plan), plan))


def test_record_set_11_without_the_student_alone_rows_are_tested_against_kd_only():
    plan = dataclasses.replace(EIGHT, methods=("kd", "at"), baseline=None)
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [92] * 8)]
    assert lines(runs, plan, TESTED) == [
        ("at", 1, 8, 1.0, None, 2 / 256, "kd"),
        ("kd", 2, 8, None, None, None, ""),
    ]


def test_record_set_12_without_kd_rows_are_tested_against_the_student_alone_only():
    plan = dataclasses.replace(EIGHT, methods=("student", "at", "fitnet"))
    runs = [
        *row("student", [90] * 8),
        *row("at", [92] * 8),
        *row("fitnet", [89, 91, 90, 90, 90, 90, 90, 90]),
    ]
    # fitnet is -1 and 1 away: mean 0, p 1. at: 2 of 256, twice that.
    assert lines(runs, plan, TESTED) == [
        ("at", 1, 8, None, 4 / 256, None, "student"),
        ("student", 2, 8, None, None, None, ""),
        ("fitnet", 2, 8, None, 1.0, None, ""),
    ]
