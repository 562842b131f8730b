"""The learning rate of each step, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmark.study.schema import Recipe
from benchmark.training.schedule import Schedule, learning_rate


def recipe(epochs: int = 4, **schedule: Any) -> Recipe:
    return Recipe.model_validate({"epochs": epochs, "optimizer": {"lr": 1.0}, "schedule": schedule})


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [1.0] * 8),
        ({"name": "step", "milestones": [1, 3]}, [1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ({"name": "cosine"}, [0.5 * (1 + math.cos(math.pi * n / 8)) for n in range(8)]),
        (
            {"name": "cosine", "warmup_epochs": 1},
            [0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * n / 6)) for n in range(6))],
        ),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    schedule: dict[str, Any], expected: list[float]
) -> None:
    rates = [
        learning_rate(recipe(**schedule), epoch, step, 2) for epoch in range(4) for step in range(2)
    ]
    assert rates == pytest.approx(expected)


def test_the_training_follows_the_recipe_whatever_comes_before() -> None:
    cosine = recipe(name="cosine")
    schedule = Schedule(cosine, steps=2, early_epochs=3)
    for epoch in range(4):
        assert schedule.rate(epoch, 1) == learning_rate(cosine, epoch, 1, 2)


def test_a_methods_own_early_stage_has_the_constant_peak_rate() -> None:
    schedule = Schedule(recipe(name="cosine", warmup_epochs=1), steps=2, early_epochs=2)
    assert [schedule.rate(epoch, step) for epoch in (-2, -1) for step in (0, 1)] == [1.0] * 4


def test_a_network_that_is_trained_first_follows_a_recipe_from_its_beginning() -> None:
    alone = recipe(name="cosine")
    schedule = Schedule(recipe(epochs=8, name="cosine"), 2, early_epochs=4, early_recipe=alone)
    early = [schedule.rate(epoch, 0) for epoch in range(-4, 0)]
    assert early == [learning_rate(alone, epoch, 0, 2) for epoch in range(4)]
