"""The learning rate over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.study.schema.base import Count, Strict

OWN_DEFAULTS: dict[str, dict[str, float]] = {
    "polynomial": {"power": 1.0},
    "onecycle": {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4},
}
"""Keys that only one schedule has, with their defaults, by the schedule's name."""


class Schedule(Strict):
    """The learning rate over time. It is set before every step."""

    name: Literal["cosine", "step", "constant", "polynomial", "onecycle"] = "cosine"
    """`cosine` decays to zero, `step` drops at given epochs, `constant` does not change,
    `polynomial` decays to zero as a power of the remaining time, and `onecycle` rises to `lr` and
    falls far below its start, both along half a cosine (Smith and Topin, 2019, arXiv:1708.07120).
    The momentum never changes."""

    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate rises linearly to `lr`. Not for `onecycle`, which rises by
    itself."""

    milestones: list[Count] = []
    """`step` only: the epochs at which the learning rate drops, in increasing order."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`step` only: factor applied to the learning rate at each milestone."""

    power: Annotated[float, Field(gt=0)] | None = None
    """`polynomial` only: the exponent. The default is 1, a linear decay."""

    pct_start: Annotated[float, Field(gt=0, lt=1)] | None = None
    """`onecycle` only: share of the training in which the learning rate rises. The default is
    0.3."""

    div_factor: Annotated[float, Field(ge=1)] | None = None
    """`onecycle` only: `lr` divided by the first learning rate. The default is 25."""

    final_div_factor: Annotated[float, Field(ge=1)] | None = None
    """`onecycle` only: the first learning rate divided by the last. The default is 10,000."""

    @model_validator(mode="before")
    @classmethod
    def _set_own_defaults(cls, value: Any) -> Any:
        """Make the defaults explicit, because the schedule is part of a cell's identity."""
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            return value

        own = OWN_DEFAULTS.get(value["name"], {})
        missing = {key: default for key, default in own.items() if value.get(key) is None}
        return {**value, **missing}

    @model_validator(mode="after")
    def _check_milestones(self) -> Self:
        if self.name == "step" and not self.milestones:
            raise ValueError("schedule 'step' requires milestones")
        if self.name != "step" and self.milestones:
            raise ValueError("milestones apply only to schedule 'step'; remove them")
        if self.name != "step" and self.gamma != 0.1:
            raise ValueError("gamma applies only to schedule 'step'; remove it")
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError("milestones must be in increasing order")
        return self

    @model_validator(mode="after")
    def _check_own_keys(self) -> Self:
        for name, own in OWN_DEFAULTS.items():
            for key in own:
                if name != self.name and getattr(self, key) is not None:
                    raise ValueError(f"{key} applies only to schedule '{name}'; remove it")

        if self.name == "onecycle" and self.warmup_epochs:
            raise ValueError("schedule 'onecycle' rises by itself; remove warmup_epochs")
        return self
