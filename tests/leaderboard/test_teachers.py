"""Which teacher stands above the rows of a pair."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.support.handmade import KD, PLAN, STUDENT, board, full, line, row, run, teacher


def accuracies(table, method):
    """The accuracies of a method, by pair."""
    return table.loc[table["method"] == method, "acc1"].tolist()


def test_two_finished_runs_of_one_teacher_are_refused():
    with pytest.raises(ValueError, match="the teacher of r56-r20 has more than one finished run"):
        board([*full(), teacher() | {"run_id": "again"}])


def test_each_pair_gets_the_teacher_whose_identity_its_runs_carry():
    plan = dataclasses.replace(PLAN, pairs=("a", "b", "c"), methods=("student", "kd"))
    # Both teachers are the same model, trained on two data sets, and so have the same name.
    runs = [teacher(96.0, identity="T1"), teacher(94.0, identity="T2")]
    for pair, identity in {"a": "T1", "b": "T1", "c": "T2"}.items():
        runs += row("student", [90.0] * 3, pair, teacher="")
        runs += row("kd", [92.0] * 3, pair, teacher=identity)

    table = board(runs, plan)
    closed = table.loc[table["method"] == "kd", "gap_closed"].tolist()
    assert accuracies(table, "teacher") == [96.0, 96.0, 94.0]
    assert closed == pytest.approx([100 / 3, 100 / 3, 50])


def test_students_of_two_teachers_are_not_put_into_one_table():
    runs = [*full()[:7], *row("at", [92.0] * 3, teacher="S")]
    with pytest.raises(ValueError, match="r56-r20 learned from different teachers: S, T"):
        board(runs)


def test_a_failed_run_from_another_teacher_and_the_student_alone_do_not_decide_who_the_teacher_is():
    runs = [
        teacher(96.0),
        teacher(50.0, identity="S"),
        *row("student", STUDENT, teacher="S"),
        *full()[4:],
        run("at", 1, math.nan, status="FAILED", teacher="S"),
    ]
    assert line(runs, "teacher")["acc1"] == 96.0


def test_a_teacher_recorded_once_for_each_of_its_pairs_is_found_under_its_pair():
    plan = dataclasses.replace(PLAN, pairs=("a", "b"), methods=("kd",), baseline=None)
    runs = [
        *row("kd", KD, "a"),
        *row("kd", KD, "b"),
        teacher(95.0, pair="a"),
        teacher(96.0, pair="b"),
    ]
    assert accuracies(board(runs, plan), "teacher") == [95.0, 96.0]


def test_a_teacher_of_several_pairs_stands_above_each_also_before_any_of_its_students_began():
    plan = dataclasses.replace(PLAN, pairs=("a-b", "a-c"), methods=("student", "kd"))
    runs = [teacher(pair="a-b, a-c"), *row("student", STUDENT, "a-b"), *row("kd", KD, "a-b")]
    for pair in plan.pairs:
        assert line(runs, "teacher", plan, pair)["acc1"] == 96.0
    assert line([teacher(pair="a-bc")], "teacher", plan, "a-b")["n"] == 0


def test_a_teacher_that_failed_keeps_its_row_with_the_reason():
    runs = [teacher(math.nan, status="FAILED", reason="diverged"), *full()[1:]]
    failed = line(runs, "teacher")
    assert (failed["n"], failed["note"]) == (0, "failed: diverged")


def test_a_teacher_that_is_missing_keeps_its_row_and_no_gap_is_closed():
    missing = line(full()[1:], "teacher")
    assert missing["n"] == 0
    assert missing["note"] == "the teacher has no finished run with an accuracy"
    assert math.isnan(line(full()[1:], "kd")["gap_closed"])
