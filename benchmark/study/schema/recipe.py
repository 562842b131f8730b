"""How a network is trained: optimizer, learning rate, augmentation, length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.study.schema.base import Count, Shorthand, Strict
from benchmark.study.schema.schedule import Schedule

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

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the networks. Losses are always computed in fp32. With `fp16`, the loss is
    scaled so that small gradients don't vanish, and steps whose gradient overflows are skipped."""

    label_smoothing: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the target that the cross-entropy spreads evenly over all classes, after mixup and
    CutMix (Szegedy et al., 2016, arXiv:1512.00567). It applies to the cross-entropy with the labels
    that every method has, with weight `ce`, and not to a method's own terms; so the method
    `label_smoothing`, whose `ce` is 0, is not smoothed twice."""

    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum norm of the gradient of all weights that a student's optimizer trains, its method's
    and peer's included. Longer gradients are shortened to it. With DOT, the norm is that of the
    whole loss's gradient, and both of its parts are shortened by the same factor."""

    clip_value: Annotated[float, Field(gt=0)] | None = None
    """Maximum magnitude of each value of the gradient; applied before `clip_norm`. With DOT, it
    limits the gradients of the task and of the distillation one by one."""

    accumulate: Annotated[int, Field(ge=2)] | None = None
    """Number of batches whose mean gradient makes one update. The rest of an epoch makes an update
    of its own. An update has the learning rate of its first batch. Networks, methods and
    BatchNorm still see single batches of `batch_size` images, as do losses that relate the
    images of a batch, such as those of CRD, SP and RKD."""

    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the student's weights, such as 0.999, updated after
    every update of the weights. The averaged weights are validated, selected, saved and tested,
    together with those of a head that the method deploys; buffers, such as BatchNorm's statistics,
    are the student's own. The average starts with the weights after the first update of the main
    training. Networks that a student learns together with are not averaged."""

    max_hours: Annotated[float, Field(gt=0)] | None = None
    """Maximum training time of a network in hours: its own steps and the teacher's passes for it,
    without validation. It ends with the epoch in which its time exceeds this limit, and
    is evaluated as if it were complete. An early stage is never cut, and at least one epoch of the
    main training follows it."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that determine the training."""
        return self.model_dump(exclude_none=True)

    @property
    def stream(self) -> dict[str, Any]:
        """The options that determine the batches and the teacher's outputs for them.

        Only cells that agree in these options can be trained side by side.
        """
        return self.model_dump(
            include={"batch_size", "augmentation", "mixup", "cutmix", "precision"},
            exclude_none=True,
        )

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
    def _check_precision(self) -> Self:
        if self.precision == "fp16" and self.optimizer.name == "dot":
            problem = "optimizer 'dot' has two gradients, and precision 'fp16' can scale only one"
            raise ValueError(f"{problem}; use 'bf16' or 'fp32'")
        return self

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
