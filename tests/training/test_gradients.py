"""Clipped, accumulated and scaled gradients, against torch's own and against one big batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.study.schema import Recipe
from benchmark.training import optimizers
from benchmark.training.gradients import Clipping, Turn, turn
from benchmark.training.losses import Loss
from tests.training.test_optimizers import flat, loss_of, parameters

SGD = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.125}
DOT = {"name": "dot", "weight_decay": 0.0, "lr": 0.125}


def recipe(optimizer: dict[str, Any], **options: Any) -> Recipe:
    return Recipe.model_validate({"epochs": 1, "optimizer": optimizer, **options})


def gradient() -> list[Tensor]:
    """Return the gradient of `loss_of`."""
    values = parameters()
    loss_of(values).total.backward()
    return [value.grad for value in values if value.grad is not None]


def test_batches_that_make_one_update_know_their_place_and_number() -> None:
    assert [turn(step, 3, None) for step in range(3)] == [Turn(True, True, 1)] * 3
    assert [turn(step, 5, 2) for step in range(5)] == [
        Turn(True, False, 2),
        Turn(False, True, 2),
        Turn(True, False, 2),
        Turn(False, True, 2),
        Turn(True, True, 1),
    ]
    assert [turn(step, 2, 4) for step in range(2)] == [Turn(True, False, 2), Turn(False, True, 2)]


@pytest.mark.parametrize("limits", [{"norm": 0.5}, {"norm": 1e6}, {"value": 1.5}])
def test_clipping_is_that_of_torch(limits: dict[str, float]) -> None:
    ours, theirs = gradient(), parameters()
    loss_of(theirs).total.backward()
    Clipping(**limits).apply(ours)

    if "norm" in limits:
        nn.utils.clip_grad_norm_(theirs, limits["norm"])
    else:
        nn.utils.clip_grad_value_(theirs, limits["value"])
    assert flat(ours) == flat([value.grad for value in theirs if value.grad is not None])


def test_values_are_limited_before_the_norm() -> None:
    ours = gradient()
    Clipping(norm=1.0, value=0.5).apply(ours)
    assert torch.cat(ours).norm().item() == pytest.approx(1.0, abs=1e-5)

    expected = torch.cat(gradient()).clamp(-0.5, 0.5)
    assert torch.cat(ours).tolist() == pytest.approx((expected / expected.norm()).tolist(), 1e-5)


def test_the_parts_of_a_gradient_are_shortened_by_one_factor_to_the_norm_of_their_sum() -> None:
    task = [torch.tensor([3.0, 0.0]), None, torch.tensor([1.0])]
    terms = [torch.tensor([0.0, 4.0]), torch.tensor([12.0]), torch.tensor([-1.0])]
    Clipping(norm=1.3).apply(task, terms)
    assert task[1] is None
    tenths = torch.cat([value for value in (*task, *terms) if value is not None])
    assert tenths.tolist() == pytest.approx([0.3, 0.0, 0.1, 0.0, 0.4, 1.2, -0.1], rel=1e-5)


def test_values_of_each_part_are_limited_one_by_one() -> None:
    task, terms = [torch.tensor([3.0])], [torch.tensor([-2.5])]
    Clipping(value=2.0).apply(task, terms)
    assert (task[0].item(), terms[0].item()) == (2.0, -2.0)


@pytest.mark.parametrize("option", [{"clip_norm": 0.5}, {"clip_value": 0.5}])
def test_an_optimizer_clips_the_gradient_of_the_whole_loss(option: dict[str, float]) -> None:
    values = parameters()
    optimizers.create(recipe(SGD, **option), values).step(loss_of(values))

    expected = gradient()
    Clipping(option.get("clip_norm"), option.get("clip_value")).apply(expected)
    steps = [8 * (old - new) for old, new in zip(parameters(), values, strict=True)]
    assert flat(steps) == pytest.approx(flat(expected), rel=1e-5)


def test_dot_with_a_clipped_norm_moves_by_the_clipped_sum_of_both_gradients_at_first() -> None:
    values = parameters()
    optimizers.create(recipe(DOT, clip_norm=0.5), values).step(loss_of(values))
    steps = [8 * (old - new) for old, new in zip(parameters(), values, strict=True)]
    assert torch.cat(steps).norm().item() == pytest.approx(0.5, rel=1e-5)

    expected = gradient()
    Clipping(norm=0.5).apply(expected)
    assert flat(steps) == pytest.approx(flat(expected), rel=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_dot_clips_gradients_that_share_memory_once(power: int) -> None:
    """Gradients of a sum: torch expands a single value, or returns one tensor for both terms."""
    values = [torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    terms = [(values[0] + values[1]).pow(power).sum()]
    settings = {"name": "dot", "weight_decay": 0.0, "lr": 1.0}
    loss = Loss(torch.zeros(1), None, terms, {}, {})
    optimizers.create(recipe(settings, clip_norm=0.1), values).step(loss)

    steps = [torch.tensor([1.0, 2.0]) - value for value in values]
    assert torch.equal(*steps)
    assert torch.cat(steps).norm().item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("settings", [SGD, DOT, {"name": "adamw", "lr": 1e-3}])
def test_accumulated_batches_make_the_update_of_one_big_batch(settings: dict[str, Any]) -> None:
    """Two updates: of three batches, and of the two that are left at the end of the epoch."""
    torch.manual_seed(0)
    images, labels = torch.randn(20, 6).double(), torch.randint(3, (20,))
    small, big = nn.Linear(6, 3).double(), nn.Linear(6, 3).double()
    big.load_state_dict(small.state_dict())

    def loss(model: nn.Module, at: slice) -> Loss:
        logits = model(images[at])
        distance = (logits - images[at, :3]).square().mean()
        return Loss(logits, nn.functional.cross_entropy(logits, labels[at]), [distance], {}, {})

    ours = optimizers.create(recipe(settings), list(small.parameters()))
    for step in range(5):
        before = small.bias.detach().clone()
        ours.step(loss(small, slice(4 * step, 4 * step + 4)), turn(step, 5, 3))
        assert torch.equal(small.bias, before) == (step not in (2, 4))

    theirs = optimizers.create(recipe(settings), list(big.parameters()))
    for at in (slice(0, 12), slice(12, 20)):
        theirs.step(loss(big, at))
    for value, expected in zip(small.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


def test_an_update_in_fp16_equals_one_without_scaling_and_clips_unscaled_gradients() -> None:
    values, plain = parameters(), parameters()
    scaled = optimizers.create(recipe(SGD, precision="fp16", clip_norm=0.5), values)
    unscaled = optimizers.create(recipe(SGD, clip_norm=0.5), plain)
    for _ in range(3):
        scaled.step(loss_of(values))
        unscaled.step(loss_of(plain))
    assert flat(values) == pytest.approx(flat(plain), rel=1e-6)


def test_an_update_whose_gradient_overflows_is_skipped_and_halves_the_scale() -> None:
    values = parameters()
    optimizer = optimizers.create(recipe(SGD, precision="fp16"), values)
    infinite = Loss(torch.zeros(1), values[0].sum() * float("inf"), [], {}, {})

    assert not optimizer.step(infinite)
    assert flat(values) == flat(parameters())
    state = optimizer.state()
    assert state["scaler/scale"].item() == 32768

    restored = optimizers.create(recipe(SGD, precision="fp16"), parameters())
    restored.load(state)
    assert {name: value.item() for name, value in restored.state().items()} == {
        "scaler/scale": 32768,
        "scaler/growth_tracker": 0,
    }
    assert optimizer.step(loss_of(values))
    assert flat(values) != flat(parameters())
    assert optimizer.state()["scaler/growth_tracker"].item() == 1


def test_a_state_without_the_loss_scaling_is_refused_in_fp16() -> None:
    optimizer = optimizers.create(recipe(SGD, precision="fp16"), parameters())
    with pytest.raises(KeyError, match="scale"):
        optimizer.load({})
