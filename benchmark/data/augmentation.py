"""Augmentation of image batches on the device, with random draws made in advance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.randaugment import RandAugmented
from benchmark.data.view import View
from benchmark.study.schema import Augmentation


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Pad every image with zeros and cut out a window of its original size.

    Args:
        images: The images, [N, C, H, W]; fastest if they are channels_last in memory.
        top: First row of each window in the padded image, int64 [N], 0 to 2 * padding.
        left: First column of each window, int64 [N], 0 to 2 * padding.
        padding: Number of pixels added on each side.

    Returns:
        The windows, [N, C, H, W], channels_last in memory.
    """
    count, channels, height, width = images.shape
    pixels = F.pad(images.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4)).contiguous()
    image, row, column, _ = pixels.stride()
    starts = torch.arange(count, device=images.device) * image + top * row + left * column

    # A window of every start, in the same memory: the rows of one window are copied whole.
    line = width * channels
    offsets = pixels.numel() - (height - 1) * row - line + 1
    windows = pixels.as_strided((offsets, height, line), (1, row, 1))
    cropped = windows.index_select(0, starts)
    return cropped.view(count, height, width, channels).permute(0, 3, 1, 2)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror some images left to right.

    Args:
        images: The images, [N, C, H, W].
        chosen: Indices of the images to mirror, int64 [n].
    """
    pixels = images.permute(0, 2, 3, 1)
    mirrored = pixels.index_select(0, chosen).flip(2)
    return pixels.index_copy(0, chosen, mirrored).permute(0, 3, 1, 2)


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


class Draws:
    """Random draws for the augmentation of an epoch.

    All draws of an epoch are made at once, on the CPU, from streams named by seed, role and epoch,
    so any epoch can be replayed on any device. They are copied to the device once, so no batch
    waits for it.

    Args:
        augmentation: How each image is augmented.
        view: The view that the epoch shows.
        blocks: Positions of the images that are augmented together.
        size: Height and width of the images.
        device: Device of the images.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        view: View,
        blocks: Sequence[slice],
        size: tuple[int, int],
        device: torch.device,
    ):
        self.padding = augmentation.crop_padding
        self.flip = augmentation.flip
        self.blocks = blocks

        generator = view.generator("augmentation")
        corners = torch.randint(0, 2 * self.padding + 1, (2, view.count), generator=generator)
        self.corners = view.arranged(corners).to(device)
        mirrored = view.arranged(torch.rand(view.count, generator=generator) < 0.5)
        self.mirrored = _indices([mirrored[at] for at in blocks], device)

        self.randaugmented: RandAugmented | None = None
        if augmentation.randaugment is not None:
            self.randaugmented = RandAugmented(augmentation.randaugment, view, blocks, size, device)

    def augment(self, images: Tensor, block: int) -> Tensor:
        """Apply the crops, flips and RandAugment operations of the augmentation to a block.

        Args:
            images: The images, uint8 [N, C, H, W].
            block: Index of the block.
        """
        if self.padding:
            top, left = self.corners[:, self.blocks[block]]
            images = crop(images, top, left, self.padding)

        if self.flip:
            images = flip(images, self.mirrored[block])

        if self.randaugmented is not None:
            images = self.randaugmented.augment(images, block)

        return images


class Squares:
    """The squares that cutout fills in an epoch, centred at random pixels.

    DeVries and Taylor, 2017, arXiv:1708.04552.

    Args:
        side: Length of the squares' sides in pixels.
        colour: The colour that fills them, [C], on the device.
        view: The view that the epoch shows.
        size: Shape of an image, (C, H, W).
    """

    def __init__(self, side: int, colour: Tensor, view: View, size: tuple[int, int, int]):
        generator = view.generator("cutout")
        _, height, width = size
        rows = torch.randint(0, height, (view.count,), generator=generator)
        columns = torch.randint(0, width, (view.count,), generator=generator)

        self.top = view.arranged(rows - side // 2).to(colour.device)
        self.left = view.arranged(columns - side // 2).to(colour.device)
        self.side = side
        self.colour = colour

    def cut(self, images: Tensor, at: slice) -> Tensor:
        """Fill the squares of a batch.

        Args:
            images: The images, float32 [N, C, H, W].
            at: Positions of these images in the epoch.
        """
        return cutout(images, self.top[at], self.left[at], self.side, self.colour)


def _indices(masks: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return the indices at which masks are true, copied to the device at once."""
    indices = [mask.nonzero().flatten() for mask in masks]
    joined = torch.cat(indices).to(device)
    copied: Sequence[Tensor] = joined.split([len(each) for each in indices])
    return copied
