"""The moving average of weights: against torch's own, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmark.study.schema import Recipe
from benchmark.training.averaging import Average
from benchmark.training.losses import Loss
from benchmark.training.schedule import Schedule
from benchmark.training.stage import Stage


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def train(model: nn.Module, step: int) -> None:
    """Change all weights and buffers."""
    torch.manual_seed(step)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value))
    model.train()(torch.randn(8, 3))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_average_is_that_of_torch_to_the_last_bit() -> None:
    model = network()
    average = Average({"student": model}, 0.9)
    expected = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(4):
        train(model, step)
        average.update()
        expected.update_parameters(model)

    with average.applied():
        assert_same(state(model), state(expected.module))


def test_the_weights_return_after_use_and_the_optimizer_keeps_them() -> None:
    model = network()
    average = Average({"student": model}, 0.9)
    average.update()
    train(model, 1)
    average.update()
    before = state(model)
    addresses = [value.data_ptr() for value in model.parameters()]

    with average.applied():
        assert not torch.equal(model[0].weight, before["0.weight"])  # type: ignore[index]

    assert_same(state(model), before)
    assert [value.data_ptr() for value in model.parameters()] == addresses


def test_an_average_without_an_update_leaves_the_weights_as_they_are() -> None:
    model = network()
    before = state(model)
    average = Average({"student": model}, 0.9)
    with average.applied():
        assert_same(state(model), before)
    average.apply()
    assert_same(state(model), before)


def test_a_restored_average_goes_on_to_the_last_bit() -> None:
    model, copy = network(), network()
    average = Average({"student": model}, 0.9)
    for step in range(2):
        train(model, step)
        average.update()

    copy.load_state_dict(model.state_dict())
    restored = Average({"student": copy}, 0.9)
    restored.load({name: value.clone() for name, value in average.state().items()})
    for changed, averaged in ((model, average), (copy, restored)):
        train(changed, 5)
        averaged.update()
        averaged.apply()
    assert_same(state(copy), state(model))


def test_a_parameter_of_two_modules_is_averaged_once() -> None:
    model = network()
    average = Average({"student": model, "head": model[2]}, 0.9)  # type: ignore[index]
    average.update()
    names = {f"student.{name}" for name, _ in model.named_parameters()}
    assert set(average.state()) == names


def test_averages_of_other_parameters_are_refused() -> None:
    average = Average({"student": network()}, 0.9)
    with pytest.raises(ValueError, match="don't belong to the parameters"):
        average.load({"student.0.weight": torch.zeros(4, 3)})


def test_a_skipped_update_is_not_averaged() -> None:
    recipe = Recipe.model_validate({"epochs": 1, "precision": "fp16", "ema": 0.9})
    model = network()
    stage = Stage(list(model.parameters()), {"student": model}, Schedule(recipe, steps=4))
    average = stage.states()["average"]

    def step(index: int, factor: float) -> None:
        logits = model(torch.randn(8, 3))
        stage.begin(0, index)
        stage.step(Loss(logits, logits.square().mean() * factor, [], {}, {}), index)

    step(0, float("inf"))
    assert average.state() == {}
    average.load(average.state())
    step(1, 1.0)
    first = average.state()
    own = {f"student.{name}": value for name, value in model.state_dict().items()}
    assert all(torch.equal(value, own[name]) for name, value in first.items())

    before = {name: value.clone() for name, value in first.items()}
    step(2, float("inf"))
    assert_same(average.state(), before)
    step(3, 1.0)
    assert not torch.equal(average.state()["student.0.weight"], before["student.0.weight"])
