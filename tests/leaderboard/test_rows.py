"""Which runs a row of the table is made of, and which teacher stands above it."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from tests.support.handmade import KD, PLAN, STUDENT, board, full, line, row, run, teacher


def test_a_cell_that_failed_and_then_finished_counts_as_finished():
    kd = line([*full(), run("kd", 1, math.nan, status="FAILED", reason="power cut")], "kd")
    assert (kd["n"], kd["rank"], kd["note"]) == (3, 1, "")


def test_a_finished_cell_without_an_accuracy_does_not_count():
    kd = line([*full()[:4], *row("kd", (92.0, math.nan, 94.0))], "kd")
    assert (kd["n"], kd["acc1"], kd["rank"]) == (2, 93.0, None)
    assert kd["note"] == "1 of 3 cells finished without an accuracy"


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ("aaa", "3 of 3 cells failed: a"),
        ("bab", "3 of 3 cells failed: b (2), a (1)"),
        ("a", "1 of 3 cells failed: a"),
    ],
)
def test_all_reasons_of_failed_cells_are_shown_in_the_order_of_their_seeds(reasons, told):
    failed = [
        run("kd", seed, math.nan, status="FAILED", reason=reason)
        for seed, reason in enumerate(reasons)
    ]
    others = [run("kd", seed, 90.0) for seed in range(len(reasons), 3)]
    assert line([*full()[:4], *failed[::-1], *others], "kd")["note"] == told


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


def test_two_finished_runs_of_one_teacher_are_refused():
    with pytest.raises(ValueError, match="the teacher of r56-r20 has more than one finished run"):
        board([*full(), teacher() | {"run_id": "again"}])


def test_each_pair_gets_the_teacher_whose_identity_its_runs_carry():
    plan = dataclasses.replace(PLAN, pairs=("a", "b", "c"), methods=("student", "kd"))
    students = [run("student", seed, 90.0, pair, teacher="") for pair in "abc" for seed in range(3)]
    taught = {"a": "T1", "b": "T1", "c": "T2"}
    runs = [
        run("kd", seed, 92.0, pair, teacher=identity)
        for pair, identity in taught.items()
        for seed in range(3)
    ]
    # Both teachers are the same model, trained on two data sets, and so have the same name.
    table = board(
        [*students, *runs, teacher(96.0, identity="T1"), teacher(94.0, identity="T2")], plan
    )
    assert table.loc[table["method"] == "teacher", "acc1"].tolist() == [96.0, 96.0, 94.0]
    assert table.loc[table["method"] == "kd", "gap_closed"].tolist() == pytest.approx(
        [100 / 3, 100 / 3, 50]
    )


def test_students_of_two_teachers_are_not_put_into_one_table():
    with pytest.raises(ValueError, match="r56-r20 learned from different teachers: S, T"):
        board([*full()[:7], *[run("at", seed, 92.0, teacher="S") for seed in range(3)]])


def test_a_failed_run_from_another_teacher_and_the_student_alone_do_not_decide_who_the_teacher_is():
    runs = [
        *row("student", STUDENT, teacher="S"),
        *full()[4:],
        run("at", 1, math.nan, status="FAILED", teacher="S"),
    ]
    assert line([teacher(96.0), teacher(50.0, identity="S"), *runs], "teacher")["acc1"] == 96.0


def test_a_teacher_recorded_once_for_each_of_its_pairs_is_found_under_its_pair():
    plan = dataclasses.replace(PLAN, pairs=("a", "b"), methods=("kd",), baseline=None)
    runs = [
        *row("kd", KD, "a"),
        *row("kd", KD, "b"),
        teacher(95.0, pair="a"),
        teacher(96.0, pair="b"),
    ]
    table = board(runs, plan)
    assert table.loc[table["method"] == "teacher", "acc1"].tolist() == [95.0, 96.0]


def test_a_teacher_of_several_pairs_stands_above_each_also_before_any_of_its_students_began():
    plan = dataclasses.replace(PLAN, pairs=("a-b", "a-c"), methods=("student", "kd"))
    shared = teacher(pair="a-b, a-c")
    runs = [shared, *row("student", STUDENT, "a-b"), *row("kd", KD, "a-b")]
    for pair in plan.pairs:
        assert line(runs, "teacher", plan, pair)["acc1"] == 96.0
    assert line([teacher(pair="a-bc")], "teacher", plan, "a-b")["n"] == 0
