"""Teachers, students and the pairs that they form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from benchmark.study.schema.base import (
    Name,
    Seed,
    Shorthand,
    Strict,
    check_plain,
    name_is_optional,
)
from benchmark.study.schema.recipe import Recipe


def _check_percent(value: float) -> float:
    """Refuse an accuracy that is probably meant as a share.

    A teacher's minimum of 1 % or less would serve no purpose: with up to 100 classes, untrained
    networks pass it.
    """
    if 0 < value <= 1:
        problem = f"is {value:g}, but accuracies are in percent"
        raise ValueError(f"{problem}; for {value:.0%}, write {100 * value:g}")
    return value


Channels = Annotated[list[float], Field(min_length=1, max_length=4)]
"""A number per colour channel."""

_WEIGHTS_KWARGS = ("pretrained_cfg", "pretrained_cfg_overlay")


class Network(Strict):
    """A network from timm, or one of kdbench's own (`kdbench models`).

    Unless `mean` and `std` are given, images are normalised as the pretrained weights require.
    Without pretrained weights, the mean and standard deviation of the training images are used.
    """

    model: str
    """Name of the model."""

    kwargs: Annotated[dict[str, Any], AfterValidator(check_plain)] = {}
    """Keyword arguments for `timm.create_model`."""

    pretrained: bool = False
    """Start from timm's pretrained weights."""

    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width to which images are resized for this network. By default, they are not
    resized."""

    mean: Channels | None = None
    """Mean per channel of pixel values in [0, 1], used to normalise the images."""

    std: Channels | None = None
    """Standard deviation per channel of pixel values in [0, 1], used to normalise the images."""

    @property
    def identity(self) -> dict[str, Any]:
        """The options that determine the network and its inputs."""
        return self.model_dump(include=set(Network.model_fields), exclude_none=True)

    @property
    def untrained(self) -> Network:
        """The same network without pretrained weights."""
        kwargs = {key: value for key, value in self.kwargs.items() if key not in _WEIGHTS_KWARGS}
        return Network(**self.identity | {"pretrained": False, "kwargs": kwargs})

    @model_validator(mode="after")
    def _check_normalisation(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be set together; set both or neither")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; all values must be above 0")
        return self


class Teacher(Network):
    """A network that is trained once, stored, and shared by all students that need it.

    By default it is trained with the study's recipe. Pretrained weights with as many classes as the
    data set are used as they are, unless a recipe is given.
    """

    recipe: Recipe | None = None
    """How the teacher is trained. The default is the study's recipe."""

    seed: Seed = 0
    """Seed of the teacher's training."""

    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """First digits of the SHA-256 of stored weights (`kdbench teachers list`), which are used
    without training. They are read as text, also if they look like a number."""

    min_accuracy: Annotated[float, Field(ge=0, le=100), AfterValidator(_check_percent)] | None = (
        None
    )
    """Accuracy in percent that the teacher must reach before students are trained. It is measured
    on the validation images, or on the test images if the teacher was trained elsewhere or without
    validation images."""

    @model_validator(mode="after")
    def _check_stored_weights(self) -> Self:
        if self.weights is None:
            return self

        for key, default in (("recipe", None), ("seed", 0), ("pretrained", False)):
            if getattr(self, key) != default:
                raise ValueError(f"{key} has no effect on stored weights; remove it")
        return self


class Pair(Strict):
    """A teacher and a student."""

    model_config = ConfigDict(json_schema_extra=name_is_optional)

    name: Name
    """Name of the pair. The default combines the names of its models."""

    teacher: Annotated[Teacher, Shorthand.for_key("model")]
    """The teacher, or the name of its model."""

    student: Annotated[Network, Shorthand.for_key("model")]
    """The student, or the name of its model."""

    @model_validator(mode="before")
    @classmethod
    def _set_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "name" in value:
            return value

        models = [_model_name(value.get(role)) for role in ("teacher", "student")]
        text = "-".join(str(model) for model in models if model) or "pair"
        return {"name": re.sub(r"[^A-Za-z0-9._+()-]+", "-", text)[:80], **value}


def _model_name(network: Any) -> Any:
    """Return the name of the model in a network that has not been checked yet."""
    return network.get("model") if isinstance(network, Mapping) else network
