"""How a network is trained: optimizer, learning rate, augmentation, length."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.study.schema.augmentation import Augmentation
from benchmark.study.schema.base import Count, Shorthand, Strict
from benchmark.study.schema.optimizer import AnyOptimizer, Optimizer
from benchmark.study.schema.schedule import AnySchedule, Schedule


class Recipe(Strict):
    """How a network is trained. All students of a study share it, as do teachers without their own.

    With both `mixup` and `cutmix`, each batch is mixed by one of them, with equal probability.
    """

    epochs: Count
    """Number of epochs."""

    batch_size: Count = 64
    """Images per batch. The last, incomplete batch of an epoch is dropped."""

    optimizer: Annotated[AnyOptimizer, Shorthand.for_key("name")] = Optimizer()
    """The optimizer, or its name."""

    schedule: Annotated[AnySchedule, Shorthand.for_key("name")] = Schedule()
    """The learning-rate schedule, or its name."""

    augmentation: Augmentation = Augmentation()
    """Random changes to each training image."""

    mixup: Annotated[float, Field(gt=0)] | None = None
    """Alpha of mixup, one draw per batch (Zhang et al., 2018, arXiv:1710.09412)."""

    cutmix: Annotated[float, Field(gt=0)] | None = None
    """Alpha of CutMix, one draw per batch (Yun et al., 2019, arXiv:1905.04899)."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Precision of the networks. Losses are always computed in fp32. With `tf32`, a GPU rounds the
    factors of convolutions and matrix products to 10 bits, those of the losses included; a CPU
    computes as in `fp32`. With `fp16`, the loss is scaled so that small gradients don't vanish, and
    steps whose gradient overflows are skipped."""

    label_smoothing: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the target that the cross-entropy spreads evenly over all classes, after mixup and
    CutMix (Szegedy et al., 2016, arXiv:1512.00567). It applies to the cross-entropy with the labels
    that every method has, with weight `ce`, and not to a method's own terms; so the method
    `label_smoothing`, whose `ce` is 0, is not smoothed twice. A teacher that trains with this
    recipe is smoothed as well."""

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
    main training follows it. Not together with `teacher_cache`."""

    teacher_cache: Count | None = None
    """Resident images only: number K of fixed views in which each training image is shown. Epoch e,
    counted from 0, shows view e mod K instead of a view of its own. The teacher's outputs for a
    view are computed once for all training images, rounded to half precision and kept in the
    workspace (`data/teacher-outputs`). Later epochs, searches and studies with the same teacher,
    data, augmentation and seed read them instead of running the teacher; seeds of a search differ
    from those of a study, so neither reads what the other has stored. An early stage shows the same
    fixed views. K fixed views are fewer augmentations and therefore another protocol: such rows
    compare only with rows of the same K. For a teacher that trains with this recipe, every epoch
    has views of its own."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that determine the training."""
        return self.model_dump(exclude_none=True)

    @property
    def stream(self) -> dict[str, Any]:
        """The options that determine the batches and the teacher's outputs for them.

        Only cells that agree in these options can be trained side by side.
        """
        options = {"batch_size", "augmentation", "mixup", "cutmix", "precision", "teacher_cache"}
        return self.model_dump(include=options, exclude_none=True)

    @property
    def for_teachers(self) -> Recipe:
        """The recipe for a teacher, which has no teacher of its own."""
        return self.model_copy(update={"teacher_cache": None})

    def stretched(self, factor: float) -> Recipe:
        """Return the recipe for training `factor` times as long.

        Warm-up and milestones are stretched by the same factor.
        """
        if factor == 1:
            return self

        schedule = self.schedule.stretched(factor)
        epochs = max(1, round(factor * self.epochs))
        return self.model_copy(update={"epochs": epochs, "schedule": schedule})

    @model_validator(mode="after")
    def _check_teacher_cache(self) -> Self:
        if self.teacher_cache is None:
            return self

        mixed = [key for key in ("mixup", "cutmix") if getattr(self, key) is not None]
        if mixed:
            problem = "teacher_cache needs images that are the same in many epochs"
            raise ValueError(f"{problem}, and {mixed[0]} mixes them anew; remove one of the two")
        if self.max_hours is not None:
            problem = "the time of a training would depend on which outputs are stored"
            raise ValueError(f"teacher_cache and max_hours: {problem}; remove one of the two")
        if self.augmentation.own:
            problem = "teacher_cache needs augmentations of single images"
            raise ValueError(f"{problem}, and those of plug-ins augment batches; remove one")
        return self

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

        milestones = self.schedule.milestones if isinstance(self.schedule, Schedule) else []
        late = [epoch for epoch in milestones if epoch >= self.epochs]
        if late:
            problem = f"schedule.milestones contains {late[0]}, and epochs is {self.epochs}"
            raise ValueError(f"{problem}; every milestone must be below it")
        return self
