"""Paired differences, the closed gap, and what notes say about them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard.statistics import SIGNIFICANCE, sign_flip
from benchmark.leaderboard.table import leaderboard
from tests.support.handmade import (
    AT,
    EIGHT,
    KD,
    PLAN,
    T1,
    T2,
    TUNED_PLAN,
    board,
    everywhere,
    full,
    line,
    lines,
    ranks,
    row,
    run,
    teacher,
    tuned,
    with_costs,
)


def without(runs, method, seed):
    """All runs but one."""
    return [entry for entry in runs if (entry["method"], entry["seed"]) != (method, seed)]


def test_the_difference_to_the_student_is_paired_by_seed():
    at = line(full(), "at")
    half = T2 * 1.0 / math.sqrt(3)  # differences 1, 2, 0
    limits = (at["vs_student_low"], at["vs_student_high"])
    assert at["vs_student"] == 1.0
    assert limits == pytest.approx((1 - half, 1 + half), rel=1e-12)


def test_a_paired_difference_uses_only_the_seeds_that_both_rows_have():
    student = [run("student", 0, 90.0), run("student", 2, 93.0)]
    runs = [teacher(), *student, run("kd", 0, 91.0), run("kd", 1, 99.0), run("kd", 2, 96.0)]
    kd = line(runs, "kd")
    assert kd["acc1"] == pytest.approx(286 / 3)
    assert kd["vs_student"] == 2.0
    assert kd["vs_student_high"] == pytest.approx(2 + T1, rel=1e-12)  # differences 1 and 3
    assert kd["gap_closed"] == pytest.approx(100 * 2 / (96 - 91.5))
    assert kd["note"] == "paired with the student alone on 2 of 3 seeds"


def test_differences_are_paired_by_seed_where_the_rows_miss_different_cells():
    plan = dataclasses.replace(PLAN, seeds=(0, 1, 2, 3))
    runs = [
        *row("student", [None, 80, 90, 70]),
        *row("kd", [95, 81, None, 73]),
        *row("at", [60, 60, 60, 60]),
    ]
    # kd and the student alone share the seeds 1 and 3, with differences 1 and 3: mean 2, half
    # width t(0.975, 1) sqrt(2) / sqrt(2)
    kd = line(runs, "kd", plan)
    assert (kd["n"], kd["vs_student"]) == (3, 2.0)
    assert (kd["vs_student_low"], kd["vs_student_high"]) == pytest.approx((2 - T1, 2 + T1))
    assert kd["note"] == (
        "only 3 of 4 cells finished with an accuracy; paired with the student alone on 2 of 3 seeds"
    )


def test_without_a_common_seed_there_is_no_difference_and_no_gap():
    kd = line([teacher(), run("student", 0, 90.0), run("kd", 1, 91.0), run("kd", 2, 92.0)], "kd")
    assert math.isnan(kd["vs_student"])
    assert math.isnan(kd["gap_closed"])
    assert kd["note"] == (
        "only 2 of 3 cells finished with an accuracy; paired with the student alone on 0 of 2 seeds"
    )


def test_the_row_of_the_student_alone_is_not_compared_with_itself():
    student = line(full(), "student")
    columns = ("vs_student", "vs_student_low", "vs_student_high", "gap_closed")
    assert all(math.isnan(student[name]) for name in columns)
    assert student["note"] == ""
    assert student["rank"] == 3


def test_a_study_without_the_student_alone_shows_no_differences_and_still_ranks():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    table = board([teacher(), *row("kd", KD), *row("at", AT)], plan)
    assert table["vs_student"].isna().all()
    assert table["gap_closed"].isna().all()
    assert table["rank"].tolist() == [pd.NA, 1, 2]


def test_the_reference_is_the_row_that_the_plan_names():
    columns = ("vs_kd", "p_kd")
    at = dataclasses.replace(PLAN, reference="at")
    runs = [*row("student", [90] * 3), *row("kd", [91] * 3), *row("at", [92] * 3)]
    assert lines(runs, at, columns) == [
        ("at", None, None),
        ("kd", -1.0, 0.75),
        ("student", -2.0, None),
    ]
    none = dataclasses.replace(PLAN, reference=None)
    assert board(runs, none)[list(columns)].isna().all(axis=None)


def test_the_gap_closed_is_the_gain_over_the_teachers_lead_in_percent():
    assert line(full(), "at")["gap_closed"] == pytest.approx(100 * 1 / 5)
    assert line(full(), "kd")["gap_closed"] == pytest.approx(100 * (278.5 / 3 - 91) / 5)


def test_the_gap_is_that_of_the_seeds_which_the_row_shares_with_the_student_alone():
    runs = [
        teacher(100),
        *row("student", [80, 80, 95]),
        *row("kd", [90, 90]),
        *row("at", [90, 90, 90]),
    ]
    # kd lacks the third seed: 10 of 100 - 80. at: 10, 10, -5 is 5 of 100 - 85.
    closed = board(runs).set_index("method")["gap_closed"]
    assert (closed["kd"], closed["at"]) == (50.0, pytest.approx(100 / 3))


def test_a_teacher_worse_than_the_student_alone_closes_no_gap_and_the_note_says_so():
    kd = line([teacher(90.5), *full()[1:]], "kd")
    assert math.isnan(kd["gap_closed"])
    assert kd["note"] == "the teacher is not better than the student alone: no gap to close"
    assert kd["rank"] == 1
    assert kd["vs_student"] == pytest.approx(278.5 / 3 - 91)

    at = line([teacher(90.5), *tuned()[1:]], "at (tuned)", TUNED_PLAN)
    assert at["note"] == "the teacher is not better than student (tuned): no gap to close"


def test_a_teacher_exactly_as_good_as_the_student_alone_closes_no_gap():
    assert math.isnan(line([teacher(91.0), *full()[1:]], "kd")["gap_closed"])


def test_a_teacher_that_is_better_by_a_rounding_only_has_no_gap_to_close():
    runs = [
        teacher(70.3 + 1e-12),
        *row("student", [70.3] * 3),
        *row("kd", [71.0] * 3),
        *row("at", [71.0] * 3),
    ]
    assert board(runs)["gap_closed"].isna().all()


def test_the_gain_of_tuning_is_paired_by_seed_with_the_published_row():
    kd = line(tuned(), "kd (tuned)", TUNED_PLAN)
    # 93.0 - 92.0, 93.5 - 92.5, 94.0 - 94.0: 1, 1, 0 with mean 2/3 and variance 1/3, so that
    # sd / sqrt(3) is 1/3
    assert kd["vs_untuned"] == pytest.approx(2 / 3, rel=1e-12)
    assert kd["vs_untuned_low"] == pytest.approx(2 / 3 - T2 / 3, rel=1e-12)
    assert kd["vs_untuned_high"] == pytest.approx(2 / 3 + T2 / 3, rel=1e-12)
    assert kd["vs_student"] == 2.0  # to the tuned student alone: 2.5, 2, 1.5

    student = line(tuned(), "student (tuned)", TUNED_PLAN)
    assert (student["vs_untuned"], student["vs_untuned_low"], student["note"]) == (0.5, 0.5, "")
    assert math.isnan(line(tuned(), "kd", TUNED_PLAN)["vs_untuned"])


def test_the_gain_of_tuning_counts_only_shared_seeds_and_the_note_says_so():
    kd = line(without(tuned(), "kd", 1), "kd (tuned)", TUNED_PLAN)
    assert kd["vs_untuned"] == 0.5  # 1 and 0, of seeds 0 and 2
    assert kd["note"] == "paired with kd on 2 of 3 seeds"

    others = [entry for entry in tuned() if entry["method"] != "kd"]
    assert math.isnan(line(others, "kd (tuned)", TUNED_PLAN)["vs_untuned"])


def test_a_seed_that_the_student_alone_lacks_is_told_once_about_its_tuned_row():
    note = line(without(tuned(), "student", 1), "student (tuned)", TUNED_PLAN)["note"]
    assert note == "paired with the student alone on 2 of 3 seeds"


def test_a_seed_that_the_reference_lacks_is_told_once():
    runs = without(full(), "kd", 1)
    assert line(runs, "at")["note"] == "paired with kd on 2 of 3 seeds"
    assert line(runs, "student")["note"] == ""  # the row of kd says it


def test_a_row_is_compared_with_published_settings_only_if_it_was_tuned_and_they_are_in_the_table():
    by_hand = dataclasses.replace(TUNED_PLAN, trials={"at (tuned)": 20})
    assert math.isnan(line(tuned(), "kd (tuned)", by_hand)["vs_untuned"])

    alone = dataclasses.replace(
        TUNED_PLAN, methods=("student", "kd (tuned)"), trials={"kd (tuned)": 20}
    )
    kd = line(tuned(), "kd (tuned)", alone)
    assert math.isnan(kd["vs_untuned"])
    assert (kd["rank"], kd["note"]) == (1, "")


def test_a_note_names_the_rows_whose_network_at_inference_is_not_the_bare_student():
    table = board(with_costs())
    notes = dict(zip(table["method"], table["note"], strict=True))
    note = (
        "the network at inference is not the bare student: "
        "it has a different number of parameters from the student alone"
    )
    assert notes == {"teacher": "", "kd": "", "at": note, "student": ""}
    assert ranks(table)["at"] == 2


def test_parameters_that_are_not_known_are_no_other_network():
    runs = [*with_costs()[:7], *row("at", AT, cost_compute_tmac=5.0)]
    assert line(runs, "at")["note"] == ""


def test_two_rows_that_miss_the_same_cell_are_not_tested_against_each_other():
    runs = [*row("student", [90] * 7), *row("kd", [91] * 7), *row("at", [92] * 8)]
    assert lines(runs, EIGHT, ("rank", "vs_student", "p_student", "p_kd")) == [
        ("at", 1, 2.0, None, None),
        ("kd", None, 1.0, None, None),
        ("student", None, None, None, None),
    ]


@pytest.mark.broad
@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_tables_in_which_nothing_differs_bear_a_mark_in_at_most_6_percent(count):
    # Tables of 9 seeds, the student alone, kd and two methods. The noise of a seed is shared,
    # as it is with paired seeds.
    plan = dataclasses.replace(
        PLAN, methods=("student", "kd", "at", "fitnet"), seeds=tuple(range(9))
    )
    runs = pd.DataFrame(everywhere(plan, dict.fromkeys(plan.methods, 70.0)))
    random = np.random.default_rng(0)
    marked = 0
    uncorrected = 0
    for _ in range(count):
        noise = random.standard_t(3, size=9) + random.standard_t(3, size=(4, 9))
        table = leaderboard(runs.assign(**{"test/acc1": 70 + noise.ravel()}), plan)
        marked += table["significant"].str.len().gt(0).any()

        differences = np.concatenate([noise[1:] - noise[0], noise[2:] - noise[1]])
        uncorrected += (sign_flip(differences) < SIGNIFICANCE).any()

    assert 0.01 < marked / count <= 0.06
    assert uncorrected / count > 0.1
