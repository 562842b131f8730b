"""The learning rate of each step, against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, PolynomialLR

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


def steps_of(schedule: Recipe, steps: int) -> list[float]:
    """Return the learning rates of all steps."""
    return [
        learning_rate(schedule, epoch, step, steps)
        for epoch in range(schedule.epochs)
        for step in range(steps)
    ]


def rates_of_torch(build: Callable[[Any], Any], lr: float, count: int) -> list[float]:
    """Return the learning rates that one of torch's schedulers sets for a number of steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = build(optimizer)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("power", [None, 0.9, 2.0])
def test_a_polynomial_schedule_is_that_of_torch(power: float | None) -> None:
    keys = {} if power is None else {"power": power}
    expected = rates_of_torch(
        lambda optimizer: PolynomialLR(optimizer, total_iters=15, power=power or 1.0), 1.0, 15
    )
    assert steps_of(recipe(epochs=5, name="polynomial", **keys), 3) == pytest.approx(expected)


def test_a_polynomial_schedule_decays_after_the_warm_up() -> None:
    rates = steps_of(recipe(epochs=3, name="polynomial", warmup_epochs=1), 2)
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"pct_start": 0.25},
        {"pct_start": 0.77, "div_factor": 10.0, "final_div_factor": 100.0},
        {"pct_start": 0.05, "div_factor": 1.0},
    ],
)
@pytest.mark.parametrize(("epochs", "steps"), [(5, 3), (7, 11), (2, 1)])
def test_a_one_cycle_schedule_is_that_of_torch(
    keys: dict[str, Any], epochs: int, steps: int
) -> None:
    expected = rates_of_torch(
        lambda optimizer: OneCycleLR(
            optimizer, 1.0, total_steps=epochs * steps, cycle_momentum=False, **keys
        ),
        1.0,
        epochs * steps - 1,
    )
    rates = steps_of(recipe(epochs=epochs, name="onecycle", **keys), steps)
    assert rates[:-1] == pytest.approx(expected, rel=1e-6)

    first = 1 / keys.get("div_factor", 25.0)
    assert rates[-1] == pytest.approx(first / keys.get("final_div_factor", 1e4))


def test_a_one_cycle_of_a_single_step_ends_at_once() -> None:
    assert steps_of(recipe(epochs=1, name="onecycle"), 1) == pytest.approx([1 / 25 / 1e4])


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
