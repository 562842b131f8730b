"""How a network is trained: optimizer, learning rate, augmentation, length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.study.schema.base import Count, Shorthand, Strict

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


class Schedule(Strict):
    """The learning rate over time. It is set before every step."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    """`cosine` decays to zero, `step` drops at given epochs, `constant` does not change."""

    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate rises linearly to `lr`."""

    milestones: list[Count] = []
    """`step` only: the epochs at which the learning rate drops, in increasing order."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`step` only: factor applied to the learning rate at each milestone."""

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


class RandAugment(Strict):
    """RandAugment: random operations on each image (Cubuk et al., 2020, arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    """Number of random operations per image."""

    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of the operations: 0 to 30 on torchvision's scale for resident images, 0 to 10 on
    timm's scale for streamed images."""


class Augmentation(Strict):
    """Random changes to each training image, in the order of these keys."""

    resized_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    """Streamed images only: crop a random region that has a random aspect ratio and covers at least
    this share of the area, and resize it to the image size."""

    crop_padding: Annotated[int, Field(ge=0)] = 0
    """Resident images only: pad with this many zero pixels, then crop at random."""

    flip: bool = False
    """Flip each image horizontally with probability 0.5."""

    randaugment: RandAugment | None = None
    """Apply random operations to colours and geometry."""

    cutout: Count | None = None
    """Side, in pixels, of a random square that is filled with the data set's mean colour (DeVries
    and Taylor, 2017, arXiv:1708.04552)."""


class Recipe(Strict):
    """How a network is trained. All students of a study share it, as do teachers without their own.

    With both `mixup` and `cutmix`, each batch is mixed by one of them, with equal probability.
    """

    epochs: Count
    """Number of epochs."""

    batch_size: Count = 64
    """Images per batch. The last, incomplete batch of an epoch is dropped."""

    optimizer: Annotated[Optimizer, Shorthand.for_key("name")] = Optimizer()
    """The optimizer, or its name."""

    schedule: Annotated[Schedule, Shorthand.for_key("name")] = Schedule()
    """The learning-rate schedule, or its name."""

    augmentation: Augmentation = Augmentation()
    """Random changes to each training image."""

    mixup: Annotated[float, Field(gt=0)] | None = None
    """Alpha of mixup, one draw per batch (Zhang et al., 2018, arXiv:1710.09412)."""

    cutmix: Annotated[float, Field(gt=0)] | None = None
    """Alpha of CutMix, one draw per batch (Yun et al., 2019, arXiv:1905.04899)."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the networks. Losses are always computed in fp32."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that determine the training."""
        return self.model_dump(exclude_none=True)

    def stretched(self, factor: float) -> Recipe:
        """Return the recipe for training `factor` times as long.

        Warm-up and milestones are stretched by the same factor.
        """
        if factor == 1:
            return self

        schedule = self.schedule.model_copy(
            update={
                "milestones": [round(factor * epoch) for epoch in self.schedule.milestones],
                "warmup_epochs": round(factor * self.schedule.warmup_epochs),
            }
        )
        epochs = max(1, round(factor * self.epochs))
        return self.model_copy(update={"epochs": epochs, "schedule": schedule})

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        warmup = self.schedule.warmup_epochs
        if warmup >= self.epochs:
            problem = f"schedule.warmup_epochs is {warmup}, and epochs is {self.epochs}"
            raise ValueError(f"{problem}; warm up for fewer epochs")

        late = [epoch for epoch in self.schedule.milestones if epoch >= self.epochs]
        if late:
            problem = f"schedule.milestones contains {late[0]}, and epochs is {self.epochs}"
            raise ValueError(f"{problem}; every milestone must be below it")
        return self
