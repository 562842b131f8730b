"""What a person writes in studies/*.yaml, part by part: strict models, in which an unknown key is a mistake."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from benchmark.hashing import canonical

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+() -]{0,79}")
"""What a study, a pair or a row may be called: it becomes a folder's name and a table's row."""

LONGEST = 80
"""Characters of a wrong value that an error message repeats."""


def _named(text: str) -> str:
    if not NAME.fullmatch(text) or ".." in text:
        rule = "a name has at most 80 letters, digits, spaces or . _ + ( ) - and starts with a letter or digit"
        raise ValueError(f"is {shown(text)}; {rule}")
    return text


def shown(value: Any) -> str:
    """A wrong value as an error message repeats it."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def as_mapping(key: str) -> BeforeValidator:
    """Lets a plain string stand for a mapping with one key: `dataset: digits` is `dataset: {name: digits}`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _tight(method: str) -> str:
    """A composition has one spelling, because a cell's identity holds it: `kd + at` is `kd+at`."""
    return re.sub(r"\s*([+()])\s*", r"\1", method).strip()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"only plain data with finite numbers can be recorded: {error}") from None
    return values


Name = Annotated[str, BeforeValidator(lambda v: _named(v) if isinstance(v, str) else v)]
Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """What a person writes: unknown keys are mistakes, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Dataset(Strict):
    """Which images, and how they are read; `benchmark.data.sources` says what the names mean.

    name: `digits`, `torch/<torchvision's name>`, `hfds/<hub name or folder>`, or `folder/<path>` of class folders.
    root: the folder that relative names are looked for in, and downloads go to. input_key, target_key: columns of a
    Hugging Face data set. train_split, test_split: the source's names of its parts; by default `train`, and the first
    of `test`, `validation`, `val` that there is. image_size: height and width to which images are brought; by default
    they must be equally large. loading: `resident` decodes all images once and keeps them on the device; `streamed`
    decodes each whenever it is needed, in `workers` processes.
    """

    name: str
    root: str = "data"
    input_key: str | None = None
    target_key: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    image_size: Annotated[int, Field(ge=8)] | None = None
    loading: Literal["resident", "streamed"] = "resident"
    workers: Annotated[int, Field(ge=0)] = 2

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the images: neither where they lie nor how many processes read them."""
        return self.model_dump(exclude={"root", "workers"}, exclude_none=True)

    @model_validator(mode="after")
    def _without_effect(self) -> Self:
        hugging_face = self.name.startswith("hfds/")
        for key in ("input_key", "target_key"):
            if getattr(self, key) is not None and not hugging_face:
                raise ValueError(f"{key} belongs to a Hugging Face data set, 'hfds/...'")
        free = {"name", "root", "workers"}
        spare = [
            key
            for key, field in Dataset.model_fields.items()
            if key not in free and getattr(self, key) != field.default
        ]
        if self.name == "digits" and spare:
            raise ValueError(f"digits has no {spare[0]}; leave it out")
        if self.loading == "streamed" and self.image_size is None:
            raise ValueError("loading 'streamed' needs image_size")
        return self


def _share_or_count(value: float) -> float:
    if value >= 1 and value != int(value):
        raise ValueError(f"is {value}; give a share below 1 or a whole number of images")
    return value


Portion = Annotated[float, AfterValidator(_share_or_count)]


class Split(Strict):
    """How the source's training images are divided; its test images are never touched.

    val: share (below 1) or number of the images held out for validation, stratified; 0 for the `legacy` protocol of
    published tables, which trains on all and validates on none. train_samples: share or number of the rest that are
    trained on, stratified; all by default. seed: of the drawing.
    """

    val: Annotated[Portion, Field(ge=0)] = 0.1
    train_samples: Annotated[Portion, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def legacy(self) -> bool:
        """Whether nothing is held out for validation."""
        return self.val == 0


class Optimizer(Strict):
    """SGD or AdamW as PyTorch defines them, or DOT, which is SGD with two momenta (see `methods._dot`).

    momentum: of SGD; of DOT the mean of both momenta. nesterov: SGD's. delta: by which DOT's momentum of distillation
    lies above the mean, and that of the task below it; 0.075 by default.
    """

    name: Literal["sgd", "adamw", "dot"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    delta: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _without_effect(self) -> Self:
        if self.name == "adamw" and (self.momentum, self.nesterov) != (0.9, False):
            raise ValueError(
                f"momentum and nesterov belong to the optimizer 'sgd'; {self.name!r} has none"
            )
        if self.name == "dot" and self.nesterov:
            raise ValueError("nesterov belongs to the optimizer 'sgd'")
        if self.name == "dot" and self.delta is None:
            object.__setattr__(
                self, "delta", 0.075
            )  # written out, so that it is part of a cell's identity
        if self.name != "dot" and self.delta is not None:
            raise ValueError("delta belongs to the optimizer 'dot'")
        if self.delta is not None and not self.delta <= min(self.momentum, 1 - self.momentum):
            raise ValueError(
                f"delta is {self.delta}; momentum {self.momentum} with and without it must lie in [0, 1]"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Schedule(Strict):
    """Learning rate over time, set before every step: cosine to zero, steps at epochs, or constant; linear warm-up."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    milestones: list[Count] = []
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _milestones(self) -> Self:
        if (self.name == "step") != bool(self.milestones):
            raise ValueError("milestones belong to the schedule 'step', which needs them")
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.name != "step" and self.gamma != 0.1:
            raise ValueError("gamma belongs to the schedule 'step'")
        return self


class RandAugment(Strict):
    """RandAugment (Cubuk et al., 2020, arXiv:1909.13719): `operations` random ones per image, at one magnitude.

    magnitude: on torchvision's scale, 0 to 30, for resident images; on timm's, 0 to 10, for streamed ones.
    """

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9


class Augmentation(Strict):
    """What happens to each image before it is trained on, in this order.

    resized_crop: smallest share of the area of a random crop with a random aspect, brought to the image size (streamed
    images only). crop_padding: a random crop after zero padding by so many pixels (resident images only). flip: a
    horizontal flip of every second one. randaugment: random operations on colours and geometry. cutout: side in pixels
    of a square at a random place that takes the data set's mean colour (DeVries & Taylor, 2017, arXiv:1708.04552).
    """

    resized_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    crop_padding: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    randaugment: RandAugment | None = None
    cutout: Count | None = None


class Recipe(Strict):
    """How a network is trained; the same for every method of a study.

    mixup: alpha of mixup (Zhang et al., 2018, arXiv:1710.09412), one draw per batch. cutmix: alpha of CutMix (Yun et
    al., 2019, arXiv:1905.04899). With both, each batch is mixed by one of the two, by a fair coin.
    """

    epochs: Count
    batch_size: Count = 64
    optimizer: Annotated[Optimizer, as_mapping("name")] = Optimizer()
    schedule: Annotated[Schedule, as_mapping("name")] = Schedule()
    augmentation: Augmentation = Augmentation()
    mixup: Annotated[float, Field(gt=0)] | None = None
    cutmix: Annotated[float, Field(gt=0)] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a training."""
        return self.model_dump(exclude_none=True)

    def stretched(self, length: float) -> Recipe:
        """The same for a training so many times as long, the schedule's warm-up and milestones included."""
        if length == 1:
            return self
        milestones = [round(length * milestone) for milestone in self.schedule.milestones]
        warm = round(length * self.schedule.warmup_epochs)
        schedule = self.schedule.model_copy(
            update={"milestones": milestones, "warmup_epochs": warm}
        )
        return self.model_copy(
            update={"epochs": max(1, round(length * self.epochs)), "schedule": schedule}
        )

    @model_validator(mode="after")
    def _warm_up(self) -> Self:
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs is {self.schedule.warmup_epochs} of {self.epochs} epochs"
            )
        late = [milestone for milestone in self.schedule.milestones if milestone >= self.epochs]
        if late:
            raise ValueError(
                f"schedule.milestones holds {late[0]}, which {self.epochs} epochs never reach"
            )
        return self


Colour = Annotated[list[float], Field(min_length=1, max_length=4)]


class Network(Strict):
    """A timm model by name, with keyword arguments for `timm.create_model`.

    pretrained: starts from timm's weights. image_size: height and width that it wants; the shared batch is resized for
    it. mean, std: per channel, in [0, 1], of its normalisation. By default a network sees images as large as they are,
    normalised by its pretrained weights' mean and deviation if it has such weights, else by the training images'.
    """

    model: str
    kwargs: Annotated[dict[str, Any], AfterValidator(_plain)] = {}
    pretrained: bool = False
    image_size: Annotated[int, Field(ge=8)] | None = None
    mean: Colour | None = None
    std: Colour | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the network and what it sees."""
        return self.model_dump(include=set(Network.model_fields), exclude_none=True)

    @property
    def untrained(self) -> Network:
        """The same network without timm's weights."""
        kwargs = {
            k: v
            for k, v in self.kwargs.items()
            if k not in ("pretrained_cfg", "pretrained_cfg_overlay")
        }
        return Network(**self.identity | {"pretrained": False, "kwargs": kwargs})

    @model_validator(mode="after")
    def _normalisation(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; deviations are above 0")
        return self


class Teacher(Network):
    """A network that is trained once, with its own recipe (the study's by default), stored, and then taught from.

    weights: the first digits of the SHA-256 of stored weights (`kdbench teachers list`), which are taken as they are.
    So are pretrained weights whose classes are the data set's, unless a recipe is given. min_accuracy: in percent,
    below which the study refuses to distil; on the validation images of the teacher's training, or on the test images
    where it had none, or was trained elsewhere and may have learned from them.
    """

    recipe: Recipe | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    min_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _without_training(self) -> Self:
        for key, off in (("recipe", None), ("seed", 0), ("pretrained", False)):
            if self.weights is not None and getattr(self, key) != off:
                raise ValueError(f"{key} has no effect on stored weights; leave it out")
        return self


class Pair(Strict):
    """A teacher and a student."""

    name: Name
    teacher: Annotated[Teacher, as_mapping("model")]
    student: Annotated[Network, as_mapping("model")]

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value:
            names = [
                v.get("model") if isinstance(v, dict) else v
                for v in (value.get("teacher"), value.get("student"))
            ]
            text = "-".join(str(name) for name in names if name) or "pair"
            return {"name": re.sub(r"[^A-Za-z0-9._+()-]+", "-", text)[:80], **value}
        return value


class Found(Strict):
    """What a search found for a pair: settings of the method, and of the optimizer where those were searched too."""

    settings: dict[str, Any] = {}
    lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None


class Row(Strict):
    """A row of the table: a method (or a composition such as `kd+at`) with its settings, under a name.

    found: by pair, what `kdbench tune` chose and `kdbench run --settings tuned` adds; it goes before `settings`.
    trials: how many were made for it. search_tmac: by pair, what they computed, in 10^12 multiply-accumulates.
    """

    name: Name
    method: Annotated[str, AfterValidator(_tight)]
    settings: dict[str, Any] = {}
    found: dict[str, Found] = {}
    trials: Annotated[int, Field(ge=0)] = 0
    search_tmac: dict[str, Annotated[float, Field(ge=0)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value:
            return {"name": _tight(str(value.get("method", "row"))), **value}
        return value


class Tracking(Strict):
    """Where runs are recorded. experiment: its name in MLflow. uri: an MLflow store or server; else a local one."""

    experiment: str | None = None
    uri: str | None = None

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and "@" in uri:
            raise ValueError(
                "holds a name or a password, and studies are copied beside their runs; use MLFLOW_TRACKING_URI"
            )
        return uri


def _one_number(value: Any) -> Any:
    """The same number for each method is that number; different ones are refused."""
    if isinstance(value, dict) and value:
        counts = sorted({str(count) for count in value.values()}, key=len)
        if len(counts) > 1:
            raise ValueError(
                f"asks for {' and '.join(counts)} trials of different methods; a comparison is fair only where every "
                "method gets the same number, so give one"
            )
        return next(iter(value.values()))
    return value


Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]


class Search(Strict):
    """How `kdbench tune` looks for settings; the same for every method, on validation images alone.

    trials: of each method on each pair, the published settings being the first. seeds: that a trial is trained with;
    the study's own stay fresh for the comparison. together: trials of a method that are chosen, and trained, at once.
    objective: what is compared, its mean over the seeds, after the epoch that `select` takes. lr, weight_decay: lowest
    and highest, searched for all methods, where they are given. sampler: `gp` (Gaussian process), `tpe`, `random`;
    `auto` takes gp for up to 6 continuous settings without pruning and tpe otherwise. pruner: stops trials that fall
    behind.
    """

    trials: Annotated[Count, BeforeValidator(_one_number)] = 20
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [1000, 1001]
    together: Count = 4
    objective: Literal["val/acc1", "val/loss"] = "val/acc1"
    lr: Range | None = None
    weight_decay: Range | None = None
    sampler: Literal["auto", "gp", "tpe", "random"] = "auto"
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for key in ("lr", "weight_decay"):
            span = getattr(self, key)
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{key} is {span}; give the lowest and the highest")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds holds one twice: {self.seeds}")
        if self.sampler == "gp" and self.pruner != "none":
            raise ValueError(
                "sampler 'gp' learns nothing from pruned trials; take 'tpe', or no pruner"
            )
        return self

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.objective == "val/acc1"
