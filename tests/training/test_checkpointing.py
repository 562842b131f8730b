"""The state of a member is taken and restored under the names that earlier versions gave it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.records.checkpoints import Checkpoint
from benchmark.records.journal import EarlyEpoch, Epoch
from benchmark.study.schema import Recipe
from benchmark.training import checkpointing, optimizers
from benchmark.training.checkpointing import Tally
from benchmark.training.losses import Loss
from benchmark.training.optimizers import Optimizer

RECORD = Epoch(time=7, epoch=2, metrics={"lr": 0.5})


def parts(seed: int) -> tuple[dict[str, nn.Module], Optimizer]:
    """Return modules and an optimizer that has taken a step."""
    torch.manual_seed(seed)
    modules: dict[str, nn.Module] = {"student": nn.Linear(2, 2), "method": nn.BatchNorm1d(2)}
    values = [parameter for module in modules.values() for parameter in module.parameters()]
    optimizer = optimizers.create(Recipe(epochs=1), values)
    total = sum((value.square().sum() for value in values), torch.zeros(()))
    optimizer.step(Loss(torch.zeros(1), total, [], {}, {}))
    return modules, optimizer


def taken(record: EarlyEpoch | Epoch = RECORD, tally: Tally | None = None) -> Checkpoint:
    modules, optimizer = parts(seed=0)
    states = {"optimizer": optimizer}
    return checkpointing.take(modules, states, tally or Tally(), record, epoch=3)


def test_a_checkpoint_has_the_names_that_earlier_versions_gave_it() -> None:
    checkpoint = taken(tally=Tally(1.5, 0.25, 1, 90.0, 0.125))
    assert checkpoint.epoch == 3
    assert set(checkpoint.tensors) == {
        "student/weight",
        "student/bias",
        "method/weight",
        "method/bias",
        "method/running_mean",
        "method/running_var",
        "method/num_batches_tracked",
        "optimizer/0/momentum_buffer",
        "optimizer/1/momentum_buffer",
        "optimizer/2/momentum_buffer",
        "optimizer/3/momentum_buffer",
    }
    assert checkpoint.state == {
        "record": {"time": 7, "epoch": 2, "metrics": {"lr": 0.5}},
        "kind": "epoch",
        "seconds": {"own": 1.5, "teacher": 0.25, "saved": 0.125},
        "best": {"epoch": 1, "val/acc1": 90.0},
    }


def test_modules_and_optimizer_come_back_to_the_last_bit() -> None:
    checkpoint = taken()
    modules, optimizer = parts(seed=1)

    checkpointing.load_modules(checkpoint, modules)
    checkpointing.load_states(checkpoint, {"optimizer": optimizer})

    again = checkpointing.take(modules, {"optimizer": optimizer}, Tally(), RECORD, epoch=3)
    assert again.tensors.keys() == checkpoint.tensors.keys()
    for name, value in checkpoint.tensors.items():
        assert torch.equal(again.tensors[name], value)


@pytest.mark.parametrize("missing", ["student/weight", "method/running_mean"])
def test_weights_that_lack_one_are_refused(missing: str) -> None:
    checkpoint = taken()
    del checkpoint.tensors[missing]
    modules, _ = parts(seed=1)
    with pytest.raises(RuntimeError, match=missing.partition("/")[2]):
        checkpointing.load_modules(checkpoint, modules)


@pytest.mark.parametrize("record", [RECORD, EarlyEpoch(time=8, epoch=1, metrics={"early/lr": 1.0})])
def test_the_record_of_the_epoch_comes_back(record: EarlyEpoch | Epoch) -> None:
    assert checkpointing.record_of(taken(record)) == record


def test_a_record_of_an_earlier_version_without_a_kind_is_of_an_epoch() -> None:
    checkpoint = taken()
    del checkpoint.state["kind"]
    assert checkpointing.record_of(checkpoint) == RECORD


def test_a_tally_comes_back_from_its_json() -> None:
    tally = Tally(1.5, 0.25, 1, 90.0, 0.125)
    assert Tally.from_json(tally.to_json()) == tally
    assert Tally.from_json(Tally().to_json()) == Tally(0.0, 0.0, -1, -math.inf)


def test_a_tally_of_an_earlier_version_has_saved_nothing() -> None:
    state = Tally(1.5, 0.25, 1, 90.0, 0.125).to_json()
    del state["seconds"]["saved"]
    assert Tally.from_json(state) == Tally(1.5, 0.25, 1, 90.0)


def test_a_tally_tells_the_teachers_share_if_there_was_a_teacher() -> None:
    assert Tally(3.0, 0.0).teacher_metrics() == {}
    assert Tally(3.0, 1.0, saved_seconds=0.5).teacher_metrics() == {
        "teacher_share": 25.0,
        "teacher_saved_seconds": 0.5,
    }


@pytest.mark.parametrize("state", [{}, {"seconds": {}}, {"seconds": {"own": 1, "teacher": 1}}])
def test_a_tally_that_lacks_a_part_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        Tally.from_json(state)


def test_a_tally_keeps_the_first_of_the_best_epochs_and_adds_up_times() -> None:
    tally = Tally()
    improvements = [
        tally.improved(epoch, value) for epoch, value in enumerate([0.0, 2.0, 2.0, 1.0])
    ]
    assert improvements == [True, True, False, False]
    assert (tally.best_epoch, tally.best_accuracy) == (1, 2.0)
    assert tally.add(1.0, 0.5, 0.25) == 1.5
    tally.add(2.0, 0.0)
    assert (tally.own_seconds, tally.teacher_seconds, tally.saved_seconds) == (3.0, 0.5, 0.25)
