"""DOT, the distillation-oriented trainer. Zhao, Cui, Zhou & Liang, ICCV 2023, arXiv:2308.02286, eq. 3 to 6.

SGD with two momentum buffers: the gradient of the distillation terms goes into one with a larger momentum, that of the
task (cross-entropy) into one with a smaller one, so that distillation dominates the direction. Weight decay belongs to
the task's gradient. A parameter that only one of the two reaches has the mean momentum, and the weight decay, in both
cases; published for CIFAR-100 are a mean of 0.9 and a difference of 0.075 either way. As in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class Dot(torch.optim.Optimizer):
    """Takes the task's gradients from `parameter.grad` and those of distillation as an argument of `step`.

    momentum: mean of the two. delta: by which they lie apart from it, task below and distillation above.
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
        """One update.  distillation: a gradient for each parameter in order, None for those that it does not reach."""
        gradients = iter(distillation)
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, next(gradients), group)

    def _update(
        self, parameter: Tensor, distillation: Tensor | None, group: dict[str, Any]
    ) -> None:
        task, mean, state = parameter.grad, group["momentum"], self.state[parameter]
        if task is not None and distillation is not None:
            parts = [
                ("kd", distillation, mean + group["delta"]),
                ("task", task, mean - group["delta"]),
            ]
        else:
            parts = [
                (name, one, mean)
                for name, one in (("kd", distillation), ("task", task))
                if one is not None
            ]
        decay = group["weight_decay"] * parameter  # of the weights before either part moves them
        for name, gradient, momentum in parts:
            if name == "task" or task is None:
                gradient = gradient + decay
            buffer = state.get(name)
            state[name] = (
                gradient.clone() if buffer is None else buffer.mul_(momentum).add_(gradient)
            )
            parameter.sub_(group["lr"] * state[name])
