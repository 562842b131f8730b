"""The epochs and the work of a cell, counted by hand."""

from __future__ import annotations

import pytest

import methods
from benchmark.study.schema import Recipe
from benchmark.training import cost


@pytest.mark.parametrize(("share", "early"), [(0.07, 7), (0.071, 8), (0.0, 0), (1.0, 100)])
def test_the_early_stage_is_rounded_up_to_epochs(share: float, early: int) -> None:
    method = methods.create("ab", pre_training=share)
    assert cost.length(method, Recipe(epochs=100)) == cost.Length(early, 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kd", cost.Length(0, 3)),
        ("longer", cost.Length(0, 6)),
        ("born_again", cost.Length(3, 3)),
        ("born_again+longer", cost.Length(3, 6)),
    ],
)
def test_a_network_that_is_trained_before_the_student_takes_a_whole_recipe(
    name: str, expected: cost.Length
) -> None:
    length = cost.length(methods.create(name), Recipe(epochs=3))
    assert length == expected
    assert length.total == expected.early + expected.epochs


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("student", 2 * 3 * 10),
        ("kd", 2 * (3 * 10 + 100)),
        ("longer", 4 * 3 * 10),
        ("born_again", 2 * 3 * 10 + 2 * (3 * 10 + 10)),
        ("dml", 2 * (3 * 10 + 3 * 10)),
        ("random_teacher", 2 * (3 * 10 + 100)),
        ("mlld", 2 * 2 * (3 * 10 + 100)),
        ("ab", (3 * 10 + 100) + 2 * 3 * 10),
    ],
)
def test_the_work_of_a_cell_counts_every_network_in_every_epoch(name: str, units: int) -> None:
    method = methods.create(name)
    epochs = cost.length(method, Recipe(epochs=2))
    assert cost.compute(method, epochs, images=1, student=10, teacher=100) == units


@pytest.mark.parametrize(
    ("name", "views", "passes"),
    [
        ("student", 2, 0),
        ("kd", 1, 1),
        ("kd", 2, 2),
        ("kd", 7, 4),
        ("longer+kd", 6, 6),
        ("mlld", 3, 2 * 3),
        ("ab", 2, 1),
        ("random_teacher", 2, 0),
    ],
)
def test_stored_outputs_of_a_teacher_take_one_pass_per_view(
    name: str, views: int, passes: int
) -> None:
    method = methods.create(name)
    epochs = cost.length(method, Recipe(epochs=4))
    own = cost.compute(method, epochs, images=1, student=10, teacher=0)
    whole = cost.compute(method, epochs, 1, student=10, teacher=100, teacher_cache=views)
    companion = 4 * 100 if name == "random_teacher" else 0
    assert whole - own == 100 * passes + companion


def test_the_views_of_an_early_stage_are_those_that_it_shows() -> None:
    ab, kd = methods.create("ab"), methods.create("kd")
    assert cost.stored_views(ab, cost.Length(1, 4), 3) == {2}
    assert cost.stored_views(kd, cost.Length(0, 2), 3) == {0, 1}
    assert cost.stored_views(methods.create("student"), cost.Length(0, 2), 3) == set()


@pytest.mark.parametrize(
    ("names", "passes"),
    [
        (["student", "longer", "dml", "born_again", "random_teacher"], 0),
        (["kd", "longer"], 2),
        (["kd", "mlld", "at"], 2 * 2),
        (["kd", "ab"], 1 + 2),
        (["mlld", "ab", "kd+longer"], 1 + 2 * 2 + 2),
    ],
)
def test_a_shared_teacher_passes_in_every_epoch_in_which_any_method_learns_from_it(
    names: list[str], passes: int
) -> None:
    cohort = [methods.create(name) for name in names]
    recipe = Recipe(epochs=2)
    members = [(method, cost.length(method, recipe)) for method in cohort]
    assert cost.teacher_passes(members) == passes
