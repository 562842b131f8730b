"""The optimizer of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.study.schema import Recipe
from methods import Dot


def optimizer_of(recipe: Recipe, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """The optimizer that a recipe names."""
    chosen = recipe.optimizer
    if chosen.name == "adamw":
        return torch.optim.AdamW(parameters, lr=chosen.lr, weight_decay=chosen.weight_decay)
    if chosen.name == "dot":
        assert chosen.delta is not None
        return Dot(parameters, chosen.lr, chosen.momentum, chosen.weight_decay, chosen.delta)
    return torch.optim.SGD(
        parameters,
        chosen.lr,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
        nesterov=chosen.nesterov,
    )
