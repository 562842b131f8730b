"""What is done to images that are on the device already, a batch at a time, by draws that were made before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.study.schema import Augmentation

BINS = 31
"""Of RandAugment's magnitudes, as in torchvision."""


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Each image after zero padding, cut to its old size from its own corner.

    images: [N, C, H, W]; top, left: int64 [N], 0 to 2 * padding -> [N, C, H, W].
    """
    height, width = images.shape[2:]
    windows = (
        F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    )  # [N, C, corner, corner, H, W]
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """The chosen images mirrored left to right.  images: [N, C, H, W]; chosen: bool [N]."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def cutout(images: Tensor, top: Tensor, left: Tensor, side: int, colour: Tensor) -> Tensor:
    """Each image with a square of one colour, whose upper left corner may lie outside.

    images: float [N, C, H, W]; top, left: int64 [N]; colour: [C].
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - top[:, None]
    columns = torch.arange(width, device=images.device) - left[:, None]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[
        :, None, :
    ]
    return torch.where(inside[:, None], colour[:, None, None], images)


@dataclass(frozen=True)
class Operation:
    """One of RandAugment's.  largest: its magnitude at the last bin, None where it has none; signed: goes both ways."""

    apply: Callable[[Tensor, float], Tensor]
    largest: Callable[[int, int], float] | None = None
    signed: bool = False

    def magnitude(self, level: int, height: int, width: int) -> float:
        """At a level from 0 to 30, for images of this size."""
        return 0.0 if self.largest is None else self.largest(height, width) * level / (BINS - 1)


def operations() -> dict[str, Operation]:
    """RandAugment's operations and magnitudes as torchvision has them, on uint8 [N, 3, H, W].

    Cubuk et al., 2020, arXiv:1909.13719; pixels from outside are black, as there.
    """
    from torchvision.transforms.v2 import functional as transform  # type: ignore[import-untyped]

    def affine(
        images: Tensor, x: float = 0, y: float = 0, shear_x: float = 0, shear_y: float = 0
    ) -> Tensor:
        shear = [math.degrees(math.atan(shear_x)), math.degrees(math.atan(shear_y))]
        corner = [0.0, 0.0] if shear_x or shear_y else None
        moved: Tensor = transform.affine(images, 0.0, [int(x), int(y)], 1.0, shear, center=corner)
        return moved

    return {
        "Identity": Operation(lambda images, _: images),
        "ShearX": Operation(
            lambda images, m: affine(images, shear_x=m), lambda h, w: 0.3, signed=True
        ),
        "ShearY": Operation(
            lambda images, m: affine(images, shear_y=m), lambda h, w: 0.3, signed=True
        ),
        "TranslateX": Operation(
            lambda images, m: affine(images, x=m), lambda h, w: 150 / 331 * w, signed=True
        ),
        "TranslateY": Operation(
            lambda images, m: affine(images, y=m), lambda h, w: 150 / 331 * h, signed=True
        ),
        "Rotate": Operation(transform.rotate, lambda h, w: 30.0, signed=True),
        "Brightness": Operation(
            lambda images, m: transform.adjust_brightness(images, 1 + m), lambda h, w: 0.9, True
        ),
        "Color": Operation(
            lambda images, m: transform.adjust_saturation(images, 1 + m), lambda h, w: 0.9, True
        ),
        "Contrast": Operation(
            lambda images, m: transform.adjust_contrast(images, 1 + m), lambda h, w: 0.9, True
        ),
        "Sharpness": Operation(
            lambda images, m: transform.adjust_sharpness(images, 1 + m), lambda h, w: 0.9, True
        ),
        "Posterize": Operation(
            lambda images, m: transform.posterize(images, 8 - round(m)), lambda h, w: 4.0
        ),
        "Solarize": Operation(
            lambda images, m: transform.solarize(images, 255 * (1 - m)), lambda h, w: 1.0
        ),
        "AutoContrast": Operation(lambda images, _: transform.autocontrast(images)),
        "Equalize": Operation(lambda images, _: transform.equalize(images)),
    }


def randaugment(images: Tensor, chosen: Tensor, signs: Tensor, magnitude: int) -> Tensor:
    """Each image after its own operations, one after the other.

    images: uint8 [N, 3, H, W]; chosen: int64 [operations, N], places in `operations()`; signs: bool like it, true for a
    negative magnitude. Both are on the CPU, so that nothing waits for the device.
    """
    height, width = images.shape[2:]
    images = images.clone()
    for layer, negative in zip(chosen, signs, strict=True):
        for place, operation in enumerate(operations().values()):
            strength = operation.magnitude(magnitude, height, width)
            drawn = layer == place
            groups = [(drawn & ~negative, strength), (drawn & negative, -strength)]
            for group, signed in groups if operation.signed else [(drawn, strength)]:
                if group.any():
                    where = group.nonzero().flatten().to(images.device)
                    images[where] = operation.apply(images[where], signed)
    return images


class Draws:
    """All that an epoch's augmentation of `count` images leaves to chance; image by image in the order of the epoch.

    Drawn on the CPU for the epoch as a whole, from streams named by seed, role and epoch, so that any epoch can be
    replayed on any device.
    """

    def __init__(
        self, augmentation: Augmentation, seed: int, epoch: int, count: int, device: torch.device
    ):
        self.augmentation = augmentation
        draw = seeds.generator(seed, "augmentation", epoch)
        padding = augmentation.crop_padding
        self.corners = torch.randint(0, 2 * padding + 1, (2, count), generator=draw).to(device)
        self.mirrored = (torch.rand(count, generator=draw) < 0.5).to(device)
        if augmentation.randaugment is not None:
            shape = augmentation.randaugment.operations, count
            draw = seeds.generator(seed, "randaugment", epoch)
            self.chosen = torch.randint(0, len(operations()), shape, generator=draw)
            self.signs = torch.rand(shape, generator=draw) < 0.5

    def augment(self, images: Tensor, at: slice) -> Tensor:
        """The images at some places of the epoch, cropped, flipped and RandAugmented.  uint8 [N, C, H, W]."""
        wanted = self.augmentation
        if wanted.crop_padding:
            images = crop(images, self.corners[0, at], self.corners[1, at], wanted.crop_padding)
        if wanted.flip:
            images = flip(images, self.mirrored[at])
        if wanted.randaugment is not None:
            images = randaugment(
                images, self.chosen[:, at], self.signs[:, at], wanted.randaugment.magnitude
            )
        return images


class Squares:
    """Where an epoch's cutout cuts: squares centred at random pixels (DeVries & Taylor, 2017, arXiv:1708.04552)."""

    def __init__(
        self,
        side: int,
        colour: Tensor,
        seed: int,
        epoch: int,
        count: int,
        size: tuple[int, int, int],
    ):
        draw = seeds.generator(seed, "cutout", epoch)
        centres = [torch.randint(0, length, (count,), generator=draw) for length in size[1:]]
        self.top, self.left = (centre.sub(side // 2).to(colour.device) for centre in centres)
        self.side, self.colour = side, colour

    def cut(self, images: Tensor, at: slice) -> Tensor:
        """The images at some places of the epoch with their squares.  float32 [N, C, H, W]."""
        return cutout(images, self.top[at], self.left[at], self.side, self.colour)
