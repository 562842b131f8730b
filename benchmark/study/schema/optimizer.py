"""The optimizer of a recipe: torch's, DOT, or one of a plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from benchmark.plugins.kinds import OPTIMIZERS
from benchmark.study.schema.base import Strict
from benchmark.study.schema.own import Own, check_name, tag_of

DOT_DELTA = 0.075
"""Default `delta` of the optimizer DOT."""


class Optimizer(Strict):
    """SGD or AdamW as in PyTorch, or DOT: SGD with separate momenta for the task and the teacher.

    DOT: Zhao et al., ICCV 2023, arXiv:2308.02286.
    """

    name: Literal["sgd", "adamw", "dot"] = "sgd"
    """Name of the optimizer."""

    lr: Annotated[float, Field(gt=0)] = 0.05
    """Learning rate after warm-up."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; with DOT, the mean of its two momenta. AdamW has none."""

    nesterov: bool = False
    """Nesterov momentum; SGD only."""

    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Weight decay."""

    delta: Annotated[float, Field(ge=0, lt=1)] | None = None
    """DOT only: the distillation terms use momentum + delta, and the task's loss uses
    momentum - delta.
    The default is 0.075."""

    @model_validator(mode="before")
    @classmethod
    def _set_delta(cls, value: Any) -> Any:
        """Make DOT's default explicit, because the optimizer is part of a cell's identity."""
        is_dot = isinstance(value, Mapping) and value.get("name") == "dot"
        if is_dot and value.get("delta") is None:
            return {**value, "delta": DOT_DELTA}
        return value

    @model_validator(mode="after")
    def _check_applicable(self) -> Self:
        if self.name == "adamw" and (self.momentum, self.nesterov) != (0.9, False):
            raise ValueError("optimizer 'adamw' has no momentum and no nesterov; remove them")
        if self.name == "dot" and self.nesterov:
            raise ValueError("nesterov applies only to optimizer 'sgd'; remove it")
        if self.name != "dot" and self.delta is not None:
            raise ValueError("delta applies only to optimizer 'dot'; remove it")
        return self

    @model_validator(mode="after")
    def _check_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov requires a momentum above 0")

        if self.delta is not None and not self.delta <= min(self.momentum, 1 - self.momentum):
            problem = f"delta is {self.delta} and momentum is {self.momentum}"
            raise ValueError(f"{problem}; momentum - delta and momentum + delta must be in [0, 1]")
        return self


class OwnOptimizer(Own):
    """An optimizer that a plug-in provides (`plugins`)."""

    lr: Annotated[float, Field(gt=0)] = 0.05
    """Learning rate after warm-up."""

    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Weight decay."""

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        self.check(OPTIMIZERS)
        return self


AnyOptimizer: TypeAlias = Annotated[
    Annotated[Optimizer, Tag("Optimizer")] | Annotated[OwnOptimizer, Tag("OwnOptimizer")],
    Discriminator(tag_of(OPTIMIZERS, Optimizer, OwnOptimizer)),
    BeforeValidator(check_name(OPTIMIZERS)),
]
"""An optimizer, chosen by its name."""
