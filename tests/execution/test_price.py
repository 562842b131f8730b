"""The price of a study is what one would count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmark.execution.prepare import Prepared
from benchmark.execution.price import Price, price
from benchmark.execution.rehearse import Rehearsal, name_of, training_of
from benchmark.training.rehearsal import Figures
from tests.execution.helpers import pairs, prepared
from tests.support.studies import tiny
from tests.training.rows import row

STEPS = 3
"""Batches of an epoch of the tiny study."""

FIGURES = Figures(
    step=1.0,
    early_step=0.0,
    teacher=100.0,
    batch=0.0,
    evaluated=0.0,
    built=0.0,
    final=0.0,
    checkpoint=0.0,
    memory=10.0,
    steps=2,
)
NOTHING = replace(FIGURES, step=0.0, teacher=0.0)


def priced(study: Prepared, size: int | None = None, **figures: Figures) -> Price:
    """Price a study all of whose cells have the same figures, but for some rows."""
    measured = {
        name_of(cell): figures.get(cell.row.name, figures.get("others", FIGURES))
        for cell in study.cells
    }
    return price(study, Rehearsal(frozenset(), measured), size)


def test_steps_passes_and_what_sharing_saves_are_counted_over_all_epochs_and_seeds() -> None:
    found = priced(prepared(tiny(["student", "kd", "at"], seeds=[0, 1])))
    epochs, trainings = 2 * STEPS, 2 * 3
    assert found.students == epochs * trainings
    assert found.passes == epochs * 2 * 100
    assert found.saved == epochs * 2 * 100
    assert found.total == found.students + found.passes
    assert [row.seconds for row in found.rows] == [2 * epochs] * 3


def test_a_cohort_of_one_saves_nothing() -> None:
    found = priced(prepared(tiny(["kd", "at"])), size=1)
    assert found.passes == 2 * 2 * STEPS * 100
    assert found.saved == 0


def test_evaluations_checkpoints_and_batches_are_counted() -> None:
    study = prepared(tiny(["student"]))
    assert (len(study.data.val or ()), study.data.tests) == (40, 449)

    def other(**values: float) -> Price:
        return priced(study, others=replace(NOTHING, **values))

    assert other(evaluated=1.0).students == 2 * 40 + 449
    assert other(checkpoint=1.0).students == 2
    assert other(final=1.0).students == other(built=1.0).students == 1
    assert other(batch=1.0).batches == other(batch=1.0).total == 2 * STEPS


def test_both_stages_and_two_views_are_counted() -> None:
    study = prepared(tiny(["ab", "mlld"]))
    early = replace(NOTHING, early_step=1.0)
    assert priced(study, ab=early, mlld=NOTHING).students == STEPS

    views = replace(NOTHING, teacher=1.0)
    assert priced(study, ab=views, mlld=views).passes == STEPS * (1 + 2 * 2)


def passes_priced(rows: Sequence[Any], cohort_size: int | None = None, **other: Any) -> Price:
    """Price the passes of a study of 5 epochs with 3 fixed views and 2 seeds."""
    recipe = {"epochs": 5, "teacher_cache": 3}
    study = prepared(tiny(rows, recipe=recipe, seeds=[0, 1], **other))
    measured = {name_of(cell): replace(NOTHING, teacher=1.0) for cell in study.cells}
    return price(study, Rehearsal(frozenset(), measured), cohort_size)


@pytest.mark.parametrize(
    ("rows", "cohort_size", "passes", "saved"),
    [
        (["student", "kd", "at"], None, 3, 3),  # logits and maps together
        (["student", "kd", "at"], 1, 3 + 3, 0),  # the maps of views that are stored without them
        (["at+kd", "kd", "at"], 1, 3, 6),  # everything is stored by the first
        (["kd", "dkd"], 1, 3, 3),
        (["kd", "crld"], None, 2 * 3, 3),  # the second view is a pass of its own
        (["kd", "crld"], 1, 3 + 3, 3),
        (["ab", "kd"], 1, 1 + 3, 0),  # the early stage shows one view
    ],
)
def test_stored_outputs_are_priced_once_for_each_view_and_seed_unless_a_tap_is_missing(
    rows: list[str], cohort_size: int | None, passes: int, saved: int
) -> None:
    found = passes_priced([row(name) for name in rows], cohort_size)
    assert found.passes == 2 * passes * STEPS
    assert found.saved == 2 * saved * STEPS


def test_rows_with_other_batches_and_learning_rates_read_the_same_stored_outputs() -> None:
    other = {"name": "other", "method": "kd", "recipe": {"batch_size": 24}}
    steps = 2 * 3 * STEPS
    assert passes_priced(["kd", other]).passes == steps
    colder = {"name": "colder", "method": "kd", "recipe": {"augmentation": {"flip": False}}}
    assert passes_priced(["kd", colder]).passes == 2 * steps


def test_the_most_expensive_row_comes_first_and_is_compared_with_the_student_alone() -> None:
    rows: list[Any] = [
        "student",
        "kd",
        {"name": "big", "method": "kd", "recipe": {"batch_size": 24}},
    ]
    study = prepared(tiny(rows))
    found = priced(study, kd=replace(FIGURES, step=4.0), big=replace(FIGURES, step=3.0))
    assert [(row.row, row.factor) for row in found.rows] == [
        ("kd", 4.0),
        ("big", 2.0),
        ("student", 1.0),
    ]
    assert {row.factor for row in priced(prepared(tiny(["kd"]))).rows} == {None}


def test_the_training_of_a_missing_teacher_is_counted() -> None:
    study = prepared(tiny(["student"], pairs=pairs(one={}, two={"seed": 1})))
    first, _ = study.teachers
    measured = {name_of(cell): NOTHING for cell in study.cells}
    measured[training_of(first)] = replace(NOTHING, step=2.0, batch=1.0)
    found = price(study, Rehearsal(frozenset({first.key}), measured))
    assert found.teachers == found.total == 1 * STEPS * (2 + 1)


def test_what_was_not_measured_is_left_out() -> None:
    study = prepared(tiny(["student", "kd"]))
    found = price(study, Rehearsal(frozenset(), {"pair / student": FIGURES}))
    assert [row.row for row in found.rows] == ["student"]
    assert price(study, Rehearsal(frozenset())) == Price([], 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("hours", "epochs"), [(1.0, 2), (310 / 3600, 2), (300 / 3600, 1)])
def test_a_time_limit_cuts_the_price(hours: float, epochs: int) -> None:
    found = priced(prepared(tiny(["kd"], recipe={"max_hours": hours})))
    assert found.students == epochs * STEPS
    assert found.passes == epochs * STEPS * 100
