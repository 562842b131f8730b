"""The parts of a member fit together, and inference gets the weights that it needs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.models import create
from benchmark.models.deployed import DeployedModel
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe
from benchmark.training.assembly import Assembly, assemble
from benchmark.training.conditions import Conditions, Task
from benchmark.training.teacher import Teacher

SIZE, CLASSES, HALF = (3, 32, 32), 10, (0.5, 0.5, 0.5)
NETWORK = Network(model="cifar_resnet8")


def assembled(method: str, seed: int = 0, recipe: Recipe | None = None) -> Assembly:
    """Return the parts of a member with a CIFAR net for student and teacher."""
    data: Any = SimpleNamespace(
        device=torch.device("cpu"),
        size=SIZE,
        classes=CLASSES,
        mean=HALF,
        std=HALF,
        samples=32,
        labels=torch.arange(32) % CLASSES,
        steps=lambda batch_size: 32 // batch_size,
    )

    torch.manual_seed(7)
    teacher = Teacher(create.tapped(NETWORK, "here", SIZE, CLASSES, HALF, HALF), "")
    conditions = Conditions(data, Recipe(epochs=2, batch_size=16), seed, "last", teacher)

    folder = CellFolder(Path("unused"))
    return assemble(Task(folder, "cell", {}, NETWORK, method, {}, NETWORK, recipe), conditions)


def test_without_a_head_of_the_method_the_student_is_evaluated_and_stored() -> None:
    parts = assembled("kd")
    assert parts.model is parts.student
    assert parts.weights().keys() == parts.student.network.state_dict().keys()


def test_a_head_of_the_method_is_evaluated_and_stored_with_the_student() -> None:
    parts, other = assembled("simkd"), assembled("simkd", seed=1)
    assert isinstance(parts.model, DeployedModel)
    names = {name for name in parts.weights() if name.startswith("deployed.")}
    assert names
    assert parts.weights().keys() - names == parts.student.network.state_dict().keys()

    other.load_weights(parts.weights())

    for name, value in parts.weights().items():
        assert torch.equal(value, other.weights()[name])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        assembled("kd").load_weights({})


def test_the_random_streams_of_student_adapters_and_companion_are_apart() -> None:
    plain, fitted, peers = assembled("kd"), assembled("fitnet"), assembled("dml")
    for name, value in plain.student.network.state_dict().items():
        assert torch.equal(value, fitted.student.network.state_dict()[name])
        assert torch.equal(value, peers.student.network.state_dict()[name])


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("kd", ["student", "method"]),
        ("dml", ["student", "method", "companion"]),
        ("born_again", ["student", "method", "companion"]),
        ("random_teacher", ["student", "method"]),
    ],
)
def test_a_checkpoint_has_these_parts(method: str, names: list[str]) -> None:
    assert list(assembled(method).modules()) == names


def test_a_recipe_of_its_own_sets_the_rate_of_both_stages() -> None:
    recipe = Recipe.model_validate(
        {"epochs": 2, "batch_size": 16, "optimizer": {"lr": 0.3}, "schedule": {"name": "constant"}}
    )
    parts = assembled("born_again+longer", recipe=recipe)
    assert (parts.length.early, parts.length.epochs) == (2, 4)
    assert parts.recipe.epochs == 4
    assert [parts.schedule.rate(epoch, 0) for epoch in range(-2, 4)] == [0.3] * 6


def test_a_stage_starts_with_an_optimizer_of_those_who_learn_in_it() -> None:
    parts = assembled("born_again")
    for early in (True, False):
        optimizer = parts.enter(early).optimizer
        assert not any(value.any() for value in optimizer.state().values())
        learning = {each.requires_grad for each in parts.modules()["companion"].parameters()}
        assert learning == {early}
