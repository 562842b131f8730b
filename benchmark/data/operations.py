"""RandAugment's operations, applied to batches whose images are sorted by operation.

Cubuk et al., 2020, arXiv:1909.13719, with the magnitudes and pixels of torchvision's transforms v2
on uint8 images; pixels from outside an image are black. In a sorted batch, the images of each
operation and sign are a slice whose length the host knows, so nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 31
"""Number of magnitudes, as in torchvision."""

LEVELS = 256
"""Number of values of a pixel's channel."""

CENTRE = 5
"""Weight of a pixel in sharpness's smoothing; its eight neighbours have weight 1."""


@dataclass(frozen=True)
class Operation:
    """One of RandAugment's operations.

    Attributes:
        largest: Returns the magnitude at the last bin for a height and a width. None if the
            operation has no magnitude.
        signed: Whether the magnitude may also be negative.
    """

    largest: Callable[[int, int], float] | None = None
    signed: bool = False

    def magnitude(self, level: int, height: int, width: int) -> float:
        """Return the magnitude at a level from 0 to 30, for images of this height and width."""
        if self.largest is None:
            return 0.0

        return self.largest(height, width) * level / (BINS - 1)


OPERATIONS = {
    "Identity": Operation(),
    "ShearX": Operation(lambda h, w: 0.3, signed=True),
    "ShearY": Operation(lambda h, w: 0.3, signed=True),
    "TranslateX": Operation(lambda h, w: 150 / 331 * w, signed=True),
    "TranslateY": Operation(lambda h, w: 150 / 331 * h, signed=True),
    "Rotate": Operation(lambda h, w: 30.0, signed=True),
    "Brightness": Operation(lambda h, w: 0.9, signed=True),
    "Color": Operation(lambda h, w: 0.9, signed=True),
    "Contrast": Operation(lambda h, w: 0.9, signed=True),
    "Sharpness": Operation(lambda h, w: 0.9, signed=True),
    "Posterize": Operation(lambda h, w: 4.0),
    "Solarize": Operation(lambda h, w: 1.0),
    "AutoContrast": Operation(),
    "Equalize": Operation(),
}
"""All operations by torchvision's names and in its order, in which they are drawn."""

MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
PLANES = ("AutoContrast", "Contrast", "Color")
OTHERS = ("Brightness", "Posterize", "Solarize", "Equalize", "Sharpness", "Identity")

KINDS = [
    (name, sign)
    for name in (*MOVES, *PLANES, *OTHERS)
    for sign in ((1, -1) if OPERATIONS[name].signed else (1,))
]
"""Each operation with each sign of its magnitude, in the order of a sorted batch."""


class SortedOperations:
    """All operations at one level, for images of one size.

    Args:
        level: Level of all magnitudes, 0 to 30.
        height: Height of the images.
        width: Width of the images.
        device: Device of the images.
    """

    def __init__(self, level: int, height: int, width: int, device: torch.device):
        self._strengths = {
            (name, sign): sign * OPERATIONS[name].magnitude(level, height, width)
            for name, sign in KINDS
        }
        moves = [kind for kind in KINDS if kind[0] in MOVES]
        sources = [_sources(kind[0], self._strengths[kind], height, width) for kind in moves]
        joined = torch.stack(sources).to(device)
        self._sources = dict(zip(moves, joined.clamp(min=0), strict=True))
        self._inside = dict(zip(moves, (joined >= 0).to(torch.uint8), strict=True))

        self._levels = torch.arange(LEVELS, device=device)
        self._table_starts = LEVELS * (torch.arange(3 * height * width, device=device) % 3)

    def apply(self, pixels: Tensor, counts: Sequence[int]) -> None:
        """Apply one operation to each image, in place.

        Args:
            pixels: The images, sorted by kind, uint8 [N, H, W, 3], contiguous.
            counts: Number of images of each of `KINDS`.
        """
        parts = dict(zip(KINDS, pixels.split(list(counts)), strict=True))
        for kind, source in self._sources.items():
            flat = parts[kind].flatten(1)
            moved = flat.gather(1, source.expand_as(flat))
            torch.mul(moved, self._inside[kind], out=flat)

        planar = [kind for kind in KINDS if kind[0] in PLANES]
        sizes = [len(parts[kind]) for kind in planar]
        start = sum(counts[: KINDS.index(planar[0])])
        self._change_planes(pixels.narrow(0, start, sum(sizes)), sizes)

        for sign in (1, -1):
            part = parts["Brightness", sign]
            factor = 1 + self._strengths["Brightness", sign]
            part.copy_(part.float().mul_(factor).clamp_(0, 255))

        parts["Posterize", 1].bitwise_and_(-(2 ** round(self._strengths["Posterize", 1])) % LEVELS)
        part = parts["Solarize", 1]
        bright = part >= 255 * (1 - self._strengths["Solarize", 1])
        part.bitwise_xor_(bright.to(torch.uint8).mul_(255))

        self._equalize(parts["Equalize", 1])
        for sign in (1, -1):
            _sharpen(parts["Sharpness", sign], 1 + self._strengths["Sharpness", sign])

    def _change_planes(self, pixels: Tensor, sizes: Sequence[int]) -> None:
        """Apply autocontrast, contrast and colour.

        Args:
            pixels: The images, uint8 [n, H, W, 3].
            sizes: Number of images for autocontrast, and for both signs of contrast and of colour.
        """
        planes = pixels.movedim(3, 0).to(torch.float32, memory_format=torch.contiguous_format)
        stretched, *blended = planes.split(list(sizes), dim=1)

        lowest = stretched.amin((2, 3), keepdim=True)
        highest = stretched.amax((2, 3), keepdim=True)
        even = highest == lowest
        scale = torch.where(even, 1.0, (highest - lowest) * (1 / 255))
        stretched.sub_(lowest.masked_fill_(even, 0.0)).div_(scale)

        # The mean of a grey image is written to all its pixels: torchvision's fused operation
        # rounds sums with a single number differently at the end of some rows.
        grey = _grey(planes[:, sizes[0] :])
        contrasted = grey[: sizes[1] + sizes[2]]
        contrasted.copy_(contrasted.mean((1, 2), keepdim=True).expand_as(contrasted))

        kinds = [kind for kind in KINDS if kind[0] in ("Contrast", "Color")]
        for kind, part, other in zip(kinds, blended, grey.split(list(sizes[1:])), strict=True):
            factor = 1 + self._strengths[kind]
            part.mul_(factor).add_(other, alpha=1 - factor)
        pixels.copy_(planes.clamp_(0, 255).movedim(0, 3))

    def _equalize(self, pixels: Tensor) -> None:
        """Equalize the channels' histograms as Pillow does."""
        flat = pixels.flatten(1)
        index = flat.long().add_(self._table_starts)
        counts = torch.zeros(len(flat), 3 * LEVELS, dtype=torch.int32, device=flat.device)
        counts.scatter_add_(1, index, counts.new_ones(()).expand_as(index))
        counts = counts.view(-1, 3, LEVELS)

        # The first of the largest cumulated counts is that of the image's brightest value.
        cumulated = counts.cumsum(2)
        brightest = cumulated.argmax(2, keepdim=True)
        step = (flat.shape[1] // 3 - counts.gather(2, brightest)) // 255

        equalized = (cumulated + step // 2) // step.clamp(min=1)
        tables = F.pad(equalized[:, :, :-1].clamp_(0, 255), (1, 0))
        tables = torch.where(step == 0, self._levels, tables).to(torch.uint8)
        torch.gather(tables.flatten(1), 1, index, out=flat)


def _grey(planes: Tensor) -> Tensor:
    """Return the grey images of red, green and blue [3, n, H, W], as whole numbers [n, H, W]."""
    red, green, blue = planes
    grey: Tensor = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()
    return grey


def _sharpen(pixels: Tensor, factor: float) -> None:
    """Blend images [n, H, W, 3] with smoothed ones, except for the border of one pixel."""
    if min(pixels.shape[1:3]) <= 2:
        return

    # Whole numbers divided by 13 are far from a half: every device rounds them alike.
    values = pixels.to(torch.int16)
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    squares = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = values[:, 1:-1, 1:-1].float()
    smooth = torch.add(squares, values[:, 1:-1, 1:-1], alpha=CENTRE - 1).float().div_(CENTRE + 8)

    inner.add_(smooth.round_().sub_(inner), alpha=1 - factor)
    pixels[:, 1:-1, 1:-1] = inner.clamp_(0, 255)


def _sources(name: str, strength: float, height: int, width: int) -> Tensor:
    """Return where each value of an image comes from if it is moved, int64 [H * W * 3].

    Values from outside the image are negative.
    """
    from torchvision.transforms.v2 import functional as transform  # takes seconds to import

    numbers = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, height, width)
    if name == "Rotate":
        moved = transform.rotate(numbers, strength)
    elif name in ("TranslateX", "TranslateY"):
        distance = int(strength)
        shift = [distance, 0] if name == "TranslateX" else [0, distance]
        moved = transform.affine(numbers, 0.0, shift, 1.0, [0.0, 0.0])
    else:
        angle = math.degrees(math.atan(strength))
        shear = [angle, 0.0] if name == "ShearX" else [0.0, angle]
        corner = [0.0, 0.0] if strength else None
        moved = transform.affine(numbers, 0.0, [0, 0], 1.0, shear, center=corner)

    pixels = moved.long().view(-1, 1) - 1
    return torch.where(pixels < 0, -1, 3 * pixels + torch.arange(3)).flatten()
