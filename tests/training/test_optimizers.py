"""Optimizers: one step of a loss, against torch's own optimizers and DOT; and exact resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.study.schema import Optimizer as Settings
from benchmark.study.schema import Recipe
from benchmark.training import optimizers
from benchmark.training.losses import Loss
from methods import Dot
from tests.support.studies import Interrupt, bits, folders, run, tiny

OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "adamw", "lr": 1e-3},
    {"name": "sgd", "nesterov": True},
    {"name": "sgd", "momentum": 0.0},
    {"name": "dot", "lr": 0.02},
]


def parameters() -> list[Tensor]:
    """Return parameters, of which the task reaches the first two and the terms the last two."""
    values = ([1.0, -2.0], [0.5], [3.0, 0.25, -1.0])
    return [torch.tensor(value, requires_grad=True) for value in values]


def loss_of(values: list[Tensor], *, task: bool = True, terms: bool = True) -> Loss:
    first, both, last = values
    whole = (first**2).sum() + 3 * both.sum()
    parts = [(both**2).sum(), 0.5 * (last**3).sum()]
    return Loss(torch.zeros(1), whole if task else None, parts if terms else [], {}, {})


def recipe(optimizer: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"epochs": 1, "optimizer": optimizer})


def flat(values: list[Tensor]) -> list[float]:
    return torch.cat([value.detach() for value in values]).tolist()


@pytest.mark.parametrize("settings", OPTIMIZERS[:3])
def test_an_optimizer_steps_by_the_gradient_of_the_total(settings: dict[str, Any]) -> None:
    ours, theirs = parameters(), parameters()
    chosen = recipe(settings).optimizer
    assert isinstance(chosen, Settings)
    optimizer = optimizers.create(recipe(settings), ours)

    expected: torch.optim.Optimizer
    if chosen.name == "adamw":
        expected = torch.optim.AdamW(theirs, chosen.lr, weight_decay=chosen.weight_decay)
    else:
        expected = torch.optim.SGD(
            theirs,
            chosen.lr,
            momentum=chosen.momentum,
            weight_decay=chosen.weight_decay,
            nesterov=chosen.nesterov,
        )

    for _ in range(3):
        optimizer.step(loss_of(ours))
        expected.zero_grad()
        loss_of(theirs).total.backward()
        expected.step()
        assert flat(ours) == flat(theirs)


@pytest.mark.parametrize(("task", "terms"), [(True, True), (True, False), (False, True)])
def test_dot_steps_by_the_gradients_of_task_and_terms_apart(task: bool, terms: bool) -> None:
    ours, theirs = parameters(), parameters()
    chosen = recipe({"name": "dot", "lr": 0.02}).optimizer
    assert isinstance(chosen, Settings)
    assert chosen.delta is not None
    optimizer = optimizers.create(recipe({"name": "dot", "lr": 0.02}), ours)
    dot = Dot(theirs, chosen.lr, chosen.momentum, chosen.weight_decay, chosen.delta)
    for _ in range(3):
        optimizer.step(loss_of(ours, task=task, terms=terms))
        first, both, last = (value.detach() for value in theirs)
        own = [2 * first, torch.full_like(both, 3.0), None]
        distilled = [None, 2 * both, 1.5 * last**2]

        for parameter, gradient in zip(theirs, own, strict=True):
            parameter.grad = gradient if task else None
        dot.step(distilled if terms else [None, None, None])
        assert flat(ours) == pytest.approx(flat(theirs), rel=1e-14)


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_a_learning_rate_holds_for_the_next_steps(settings: dict[str, Any]) -> None:
    values = parameters()
    optimizer = optimizers.create(recipe(settings), values)
    assert optimizer.rate == recipe(settings).optimizer.lr
    optimizer.set_rate(0.1)
    assert optimizer.rate == 0.1
    optimizer.set_rate(0.0)
    assert optimizer.rate == 0.0
    optimizer.step(loss_of(values))
    assert flat(values) == flat(parameters())


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_a_restored_optimizer_steps_as_the_saved_one_to_the_last_bit(
    settings: dict[str, Any],
) -> None:
    values = parameters()
    optimizer = optimizers.create(recipe(settings), values)
    for _ in range(2):
        optimizer.step(loss_of(values))
    copies = [value.detach().clone().requires_grad_() for value in values]
    state = {name: value.clone() for name, value in optimizer.state().items()}

    optimizer.step(loss_of(values))
    restored = optimizers.create(recipe(settings), copies)
    restored.load(state)
    restored.step(loss_of(copies))

    assert flat(copies) == flat(values)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"name": "sgd"}, {"0/momentum_buffer", "1/momentum_buffer", "2/momentum_buffer"}),
        ({"name": "sgd", "momentum": 0.0}, set()),
        ({"name": "dot", "lr": 0.02}, {"0/task", "1/task", "1/kd", "2/kd"}),
        (
            {"name": "adamw", "lr": 1e-3},
            {f"{n}/{key}" for n in range(3) for key in ("step", "exp_avg", "exp_avg_sq")},
        ),
    ],
)
def test_the_state_has_the_names_that_checkpoints_of_earlier_versions_have(
    settings: dict[str, Any], names: set[str]
) -> None:
    values = parameters()
    optimizer = optimizers.create(recipe(settings), values)
    optimizer.step(loss_of(values))
    assert set(optimizer.state()) == names


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_parameters_may_get_their_first_gradient_later_than_others(
    settings: dict[str, Any],
) -> None:
    ours, theirs = parameters(), parameters()
    optimizer = optimizers.create(recipe(settings), ours)
    others = optimizers.create(recipe(settings), theirs)
    before = flat(ours)
    optimizer.step(loss_of(ours, terms=False))
    assert flat(ours)[3:] == before[3:]  # the third parameter has no gradient yet

    # As after a resumption from a checkpoint that lacks the third parameter.
    known = {name: value.clone() for name, value in optimizer.state().items()}
    state = {name: value for name, value in known.items() if not name.startswith("2/")}
    with torch.no_grad():
        for own, other in zip(theirs, ours, strict=True):
            own.copy_(other)
    others.load(state)

    optimizer.step(loss_of(ours))
    others.step(loss_of(theirs))
    assert flat(ours) == flat(theirs)
    assert flat(ours)[3:] != before[3:]


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_a_restored_state_lies_in_memory_as_its_parameters_do(settings: dict[str, Any]) -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last).requires_grad_()
    optimizer = optimizers.create(recipe(settings), [weight])
    optimizer.step(Loss(torch.zeros(1), (weight**2).sum(), [(weight**3).sum()], {}, {}))
    packed = {name: value.contiguous() for name, value in optimizer.state().items()}

    optimizer.load(packed)
    for name, value in optimizer.state().items():
        assert torch.equal(value, packed[name])
        assert value.stride() == weight.stride() or value.dim() == 0


def test_a_state_of_another_optimizer_is_refused() -> None:
    optimizer = optimizers.create(recipe({"name": "sgd"}), parameters())
    with pytest.raises(ValueError, match="invalid literal"):
        optimizer.load({"weight/exp_avg": torch.zeros(1)})


@pytest.mark.trains
@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_every_optimizer_resumes_in_a_study_where_it_was(
    settings: dict[str, Any], workspace: Path, tmp_path: Path
) -> None:
    content = tiny(["fitnet"], recipe={"optimizer": settings})
    run(tmp_path / "whole", content)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, content, Interrupt(after=1))
    run(workspace, content)
    assert bits(folders(workspace)["fitnet/0"]) == bits(folders(tmp_path / "whole")["fitnet/0"])


def test_a_state_of_more_parameters_than_there_are_is_refused() -> None:
    optimizer = optimizers.create(recipe({"name": "sgd"}), parameters())
    with pytest.raises(ValueError, match="there is no parameter 3"):
        optimizer.load({"3/momentum_buffer": torch.zeros(1)})
