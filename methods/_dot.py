"""DOT, the distillation-oriented trainer. Zhao, Cui, Zhou & Liang, ICCV 2023, arXiv:2308.02286.

SGD with two momentum buffers (eq. 3 to 6): the gradient of the distillation terms goes into the
buffer with the larger momentum, the gradient of the task (cross-entropy) into the buffer with the
smaller momentum, so that distillation dominates the direction. Weight decay is added to the task's
gradient. If only one of the two gradients reaches a parameter, weight decay is added to that one,
and the mean momentum applies. For CIFAR-100, the published values are a mean of 0.9 and a
difference of 0.075 in both directions. The update follows the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class Dot(torch.optim.Optimizer):
    """SGD with one momentum for the task and another for distillation.

    The gradients of the task are read from `parameter.grad`; those of distillation go to `step`.

    Args:
        parameters: Parameters to optimize.
        lr: Learning rate.
        momentum: Mean of the two momenta.
        weight_decay: Weight decay.
        delta: Distance of the momenta from their mean: the task's is lower, distillation's higher.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        delta: float = 0.075,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "delta": delta}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, distillation: Sequence[Tensor | None]) -> None:  # type: ignore[override]
        """Update all parameters.

        Args:
            distillation: The gradient of the distillation terms for each parameter, in order; None
                for a parameter that these terms do not reach.
        """
        gradients = iter(distillation)
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, next(gradients), group)

    def _update(
        self, parameter: Tensor, distillation: Tensor | None, group: dict[str, Any]
    ) -> None:
        task = parameter.grad
        mean = group["momentum"]
        delta = group["delta"] if task is not None and distillation is not None else 0.0

        # Computed from the weights as they are before either update.
        decay = group["weight_decay"] * parameter
        if distillation is not None:
            gradient = distillation + decay if task is None else distillation
            self._descend(parameter, "kd", gradient, mean + delta, group["lr"])
        if task is not None:
            self._descend(parameter, "task", task + decay, mean - delta, group["lr"])

    def _descend(
        self, parameter: Tensor, name: str, gradient: Tensor, momentum: float, lr: float
    ) -> None:
        """Add a gradient to its momentum buffer, and move the parameter along the buffer."""
        state = self.state[parameter]
        if name in state:
            state[name] = state[name].mul_(momentum).add_(gradient)
        else:
            state[name] = gradient.clone()
        parameter.sub_(lr * state[name])
