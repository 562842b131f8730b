"""The optimizers that a recipe can choose, and how each computes gradients from a loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.records.checkpoints import Tensors
from benchmark.study.schema import Recipe
from benchmark.training.losses import Loss
from methods import Dot


class Optimizer:
    """Minimises the total of a loss with one of torch's optimizers."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self._optimizer = optimizer

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def step(self, loss: Loss) -> None:
        """Update the parameters with the gradient of a loss."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self._optimizer.step()

    def state(self) -> Tensors:
        """Return the state tensors of all parameters, by `<parameter index>/<name>`."""
        tensors = {}
        for index, state in self._optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"{index}/{name}"] = value

        return tensors

    def load(self, tensors: Tensors) -> None:
        """Restore a state that `state` returned.

        Raises:
            ValueError: A name doesn't have the form that `state` uses.
        """
        states: dict[int, Tensors] = {}
        for name, value in tensors.items():
            index, _, key = name.partition("/")
            states.setdefault(int(index), {})[key] = value

        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": states})


class DotOptimizer(Optimizer):
    """Minimises a loss with DOT, which separates the gradients of the task and the distillation.

    See `methods.Dot`; Zhao et al., ICCV 2023, arXiv:2308.02286.
    """

    def __init__(self, optimizer: Dot):
        super().__init__(optimizer)
        self._dot = optimizer

    def step(self, loss: Loss) -> None:
        """Update the parameters with the two gradients of a loss."""
        self._dot.zero_grad(set_to_none=True)
        parameters = [
            parameter for group in self._dot.param_groups for parameter in group["params"]
        ]

        distillation: Sequence[Tensor | None] = [None] * len(parameters)
        if loss.parts:
            distillation = torch.autograd.grad(
                torch.stack(loss.parts).sum(),
                parameters,
                retain_graph=loss.task is not None,
                allow_unused=True,
            )

        if loss.task is not None:
            loss.task.backward()
        self._dot.step(distillation)


def create(recipe: Recipe, parameters: Sequence[Tensor]) -> Optimizer:
    """Return the optimizer of a recipe, with a fresh state."""
    settings = recipe.optimizer
    if settings.name == "adamw":
        return Optimizer(
            torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        )

    if settings.name == "dot":
        assert settings.delta is not None
        return DotOptimizer(
            Dot(
                parameters,
                settings.lr,
                settings.momentum,
                settings.weight_decay,
                settings.delta,
            )
        )

    return Optimizer(
        torch.optim.SGD(
            parameters,
            settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )
    )
