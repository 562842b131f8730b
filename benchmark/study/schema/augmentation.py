"""Random changes to training images."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from benchmark.plugins.kinds import AUGMENTATIONS
from benchmark.study.schema.base import Count, Shorthand, Strict
from benchmark.study.schema.own import Own, check_name


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

    own: list[AnyAugmentation] | None = None
    """Augmentations of plug-ins, applied to each batch in this order."""


class OwnAugmentation(Own):
    """An augmentation that a plug-in provides (`plugins`)."""

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        self.check(AUGMENTATIONS)
        return self


AnyAugmentation: TypeAlias = Annotated[
    OwnAugmentation,
    BeforeValidator(check_name(AUGMENTATIONS)),
    Shorthand.for_key("name"),
]
"""An augmentation of a plug-in, or its name."""
