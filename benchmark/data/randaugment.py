"""RandAugment of an epoch: its draws, and the sorting of its images by operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.data.operations import KINDS, OPERATIONS, SortedOperations
from benchmark.data.view import View
from benchmark.study.schema import RandAugment


class RandAugmented:
    """The operations on the images of an epoch.

    They are drawn and sorted on the CPU and copied to the device at once, so that no batch waits
    for the device.

    Args:
        settings: Number and magnitude of the operations.
        view: The view that the epoch shows.
        blocks: Positions of the images that are transformed together.
        size: Height and width of the images.
        device: Device of the images.
    """

    def __init__(
        self,
        settings: RandAugment,
        view: View,
        blocks: Sequence[slice],
        size: tuple[int, int],
        device: torch.device,
    ):
        shape = settings.operations, view.count
        generator = view.generator("randaugment")
        chosen = view.arranged(torch.randint(0, len(OPERATIONS), shape, generator=generator))
        negative = view.arranged(torch.rand(shape, generator=generator) < 0.5)

        self._sortings = [Sorting(chosen[:, at], negative[:, at]) for at in blocks]
        self._operations = SortedOperations(settings.magnitude, *size, device)

        joined = torch.cat([sorting.indices for sorting in self._sortings], dim=1).to(device)
        lengths = [sorting.indices.shape[1] for sorting in self._sortings]
        self._indices = joined.split(lengths, dim=1)

    def augment(self, images: Tensor, block: int) -> Tensor:
        """Apply a block's operations to its images, uint8 [N, 3, H, W]."""
        return self._sortings[block].applied(images, self._indices[block], self._operations)


class Sorting:
    """How a block of images is sorted by operation, before each operation of a sequence.

    Args:
        chosen: Index in `OPERATIONS` of each operation, int64 [sequence, N], on the CPU.
        negative: Whether each magnitude is negative, bool [sequence, N], on the CPU.

    Attributes:
        indices: Rows of indices into the images, int64 [sequence + 1, N], on the CPU: the order for
            each operation, and the order that restores the block's own.
    """

    def __init__(self, chosen: Tensor, negative: Tensor):
        kinds = _RANKS[chosen, negative.long()]
        self._counts = [row.bincount(minlength=len(KINDS)).tolist() for row in kinds]

        orders = kinds.argsort(dim=1, stable=True)
        restoring = orders.argsort(dim=1)
        changes = restoring[:-1].gather(1, orders[1:])
        self.indices = torch.cat([orders[:1], changes, restoring[-1:]])

    def applied(self, images: Tensor, indices: Tensor, operations: SortedOperations) -> Tensor:
        """Return transformed images.

        Args:
            images: The images, uint8 [N, 3, H, W].
            indices: The `indices`, on the device of the images.
            operations: The operations.
        """
        *orders, restoring = indices
        pixels = images.permute(0, 2, 3, 1)
        for order, counts in zip(orders, self._counts, strict=True):
            pixels = pixels.index_select(0, order)
            operations.apply(pixels, counts)
        return pixels.index_select(0, restoring).permute(0, 3, 1, 2)


def randaugment(images: Tensor, chosen: Tensor, negative: Tensor, magnitude: int) -> Tensor:
    """Apply a separate sequence of operations to each image.

    Args:
        images: The images, uint8 [N, 3, H, W].
        chosen: Index in `OPERATIONS` of each operation, int64 [sequence, N], on the CPU.
        negative: Whether each magnitude is negative, bool [sequence, N], on the CPU.
        magnitude: Level of all magnitudes, 0 to 30.

    Returns:
        The augmented images, uint8 [N, 3, H, W].
    """
    sorting = Sorting(chosen, negative)
    height, width = images.shape[2:]
    operations = SortedOperations(magnitude, height, width, images.device)
    return sorting.applied(images, sorting.indices.to(images.device), operations)


def _ranks() -> Tensor:
    """Return the index in `KINDS` of each operation with positive and negative magnitudes."""
    ranks = []
    for name, operation in OPERATIONS.items():
        positive = KINDS.index((name, 1))
        ranks.append([positive, KINDS.index((name, -1)) if operation.signed else positive])
    return torch.tensor(ranks)


_RANKS = _ranks()
