"""Augmentation of image batches on the device, with random draws made in advance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.study.schema import Augmentation

BINS = 31
"""Number of RandAugment's magnitudes, as in torchvision."""


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Pad every image with zeros and cut out a window of its original size.

    Args:
        images: The images, [N, C, H, W].
        top: First row of each window in the padded image, int64 [N], 0 to 2 * padding.
        left: First column of each window, int64 [N], 0 to 2 * padding.
        padding: Number of pixels added on each side.

    Returns:
        The windows, [N, C, H, W].
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, top, left, H, W]
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror some images left to right.

    Args:
        images: The images, [N, C, H, W].
        chosen: Which of them to mirror, bool [N].
    """
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def cutout(images: Tensor, top: Tensor, left: Tensor, side: int, colour: Tensor) -> Tensor:
    """Fill a square of each image with one colour.

    Args:
        images: The images, float [N, C, H, W].
        top: First row of each square, int64 [N]; it may be outside the image.
        left: First column of each square, int64 [N]; it may be outside the image.
        side: Length of the squares' sides in pixels.
        colour: The colour, [C].
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - top[:, None]
    columns = torch.arange(width, device=images.device) - left[:, None]

    in_rows = (rows >= 0) & (rows < side)
    in_columns = (columns >= 0) & (columns < side)
    inside = in_rows[:, :, None] & in_columns[:, None, :]
    return torch.where(inside[:, None], colour[:, None, None], images)


@dataclass(frozen=True)
class Operation:
    """One of RandAugment's operations.

    Attributes:
        apply: Transforms uint8 images [N, 3, H, W] by a magnitude.
        largest: Returns the magnitude at the last bin for a height and a width. None if the
            operation has no magnitude.
        signed: Whether the magnitude may also be negative.
    """

    apply: Callable[[Tensor, float], Tensor]
    largest: Callable[[int, int], float] | None = None
    signed: bool = False

    def magnitude(self, level: int, height: int, width: int) -> float:
        """Return the magnitude at a level from 0 to 30, for images of this height and width."""
        if self.largest is None:
            return 0.0

        return self.largest(height, width) * level / (BINS - 1)


def operations() -> dict[str, Operation]:
    """Return RandAugment's operations with torchvision's magnitudes, by name.

    Cubuk et al., 2020, arXiv:1909.13719. Pixels from outside an image are black.
    """
    from torchvision.transforms.v2 import functional as transform

    def affine(
        images: Tensor, x: float = 0, y: float = 0, shear_x: float = 0, shear_y: float = 0
    ) -> Tensor:
        shear = [math.degrees(math.atan(shear_x)), math.degrees(math.atan(shear_y))]
        corner = [0.0, 0.0] if shear_x or shear_y else None
        moved: Tensor = transform.affine(images, 0.0, [int(x), int(y)], 1.0, shear, center=corner)
        return moved

    def sheared(axis: str) -> Operation:
        return Operation(lambda images, m: affine(images, **{axis: m}), lambda h, w: 0.3, True)

    def adjusted(adjust: Callable[[Tensor, float], Tensor]) -> Operation:
        return Operation(lambda images, m: adjust(images, 1 + m), lambda h, w: 0.9, True)

    return {
        "Identity": Operation(lambda images, _: images),
        "ShearX": sheared("shear_x"),
        "ShearY": sheared("shear_y"),
        "TranslateX": Operation(
            lambda images, m: affine(images, x=m), lambda h, w: 150 / 331 * w, signed=True
        ),
        "TranslateY": Operation(
            lambda images, m: affine(images, y=m), lambda h, w: 150 / 331 * h, signed=True
        ),
        "Rotate": Operation(transform.rotate, lambda h, w: 30.0, signed=True),
        "Brightness": adjusted(transform.adjust_brightness),
        "Color": adjusted(transform.adjust_saturation),
        "Contrast": adjusted(transform.adjust_contrast),
        "Sharpness": adjusted(transform.adjust_sharpness),
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
    """Apply a separate sequence of operations to each image.

    `chosen` and `signs` stay on the CPU, so that the host never waits for the device.

    Args:
        images: The images, uint8 [N, 3, H, W].
        chosen: Index in `operations()` of each operation, int64 [sequence, N], on the CPU.
        signs: Whether each magnitude is negative, bool [sequence, N], on the CPU.
        magnitude: Level of all magnitudes, 0 to 30.

    Returns:
        The augmented images, uint8 [N, 3, H, W].
    """
    height, width = images.shape[2:]
    images = images.clone()
    for layer, negative in zip(chosen, signs, strict=True):
        for index, operation in enumerate(operations().values()):
            strength = operation.magnitude(magnitude, height, width)
            for group, signed_strength in _groups(layer == index, negative, operation, strength):
                if group.any():
                    where = group.nonzero().flatten().to(images.device)
                    images[where] = operation.apply(images[where], signed_strength)

    return images


def _groups(
    drawn: Tensor, negative: Tensor, operation: Operation, strength: float
) -> Iterator[tuple[Tensor, float]]:
    """Yield the images that an operation transforms by the same magnitude, and that magnitude."""
    if not operation.signed:
        yield drawn, strength
        return

    yield drawn & ~negative, strength
    yield drawn & negative, -strength


class Draws:
    """Random draws for the augmentation of an epoch.

    All draws of an epoch are made at once, on the CPU, from streams named by seed, role and epoch,
    so any epoch can be replayed on any device. Draw `i` belongs to the `i`-th image of
    the epoch.
    """

    def __init__(
        self, augmentation: Augmentation, seed: int, epoch: int, count: int, device: torch.device
    ):
        self.augmentation = augmentation
        generator = seeds.generator(seed, "augmentation", epoch)
        positions = 2 * augmentation.crop_padding + 1
        self.corners = torch.randint(0, positions, (2, count), generator=generator).to(device)
        self.mirrored = (torch.rand(count, generator=generator) < 0.5).to(device)

        if augmentation.randaugment is not None:
            shape = augmentation.randaugment.operations, count
            generator = seeds.generator(seed, "randaugment", epoch)
            self.chosen = torch.randint(0, len(operations()), shape, generator=generator)
            self.signs = torch.rand(shape, generator=generator) < 0.5

    def augment(self, images: Tensor, at: slice) -> Tensor:
        """Apply the crops, flips and RandAugment operations of the augmentation to a batch.

        Args:
            images: The images, uint8 [N, C, H, W].
            at: Positions of these images in the epoch.
        """
        padding = self.augmentation.crop_padding
        if padding:
            images = crop(images, self.corners[0, at], self.corners[1, at], padding)

        if self.augmentation.flip:
            images = flip(images, self.mirrored[at])

        if self.augmentation.randaugment is not None:
            magnitude = self.augmentation.randaugment.magnitude
            images = randaugment(images, self.chosen[:, at], self.signs[:, at], magnitude)

        return images


class Squares:
    """The squares that cutout fills in an epoch, centred at random pixels.

    DeVries and Taylor, 2017, arXiv:1708.04552.

    Args:
        side: Length of the squares' sides in pixels.
        colour: The colour that fills them, [C], on the device.
        seed: Seed of the draws.
        epoch: Number of the epoch.
        count: Number of images in the epoch.
        size: Shape of an image, (C, H, W).
    """

    def __init__(
        self,
        side: int,
        colour: Tensor,
        seed: int,
        epoch: int,
        count: int,
        size: tuple[int, int, int],
    ):
        generator = seeds.generator(seed, "cutout", epoch)
        _, height, width = size
        rows = torch.randint(0, height, (count,), generator=generator)
        columns = torch.randint(0, width, (count,), generator=generator)

        self.top = (rows - side // 2).to(colour.device)
        self.left = (columns - side // 2).to(colour.device)
        self.side = side
        self.colour = colour

    def cut(self, images: Tensor, at: slice) -> Tensor:
        """Fill the squares of a batch.

        Args:
            images: The images, float32 [N, C, H, W].
            at: Positions of these images in the epoch.
        """
        return cutout(images, self.top[at], self.left[at], self.side, self.colour)
