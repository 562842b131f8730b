"""What the rest of the program sees of data: labelled images in order, and batches to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Images(Protocol):
    """Labelled images that can be gone through in order, as often as wanted."""

    @property
    def labels(self) -> Tensor:
        """int64 [N], on the device."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """All images in order: float32 [n, C, H, W] in [0, 1] on the device, the last batch as small as it is."""


@dataclass(frozen=True)
class Loaded:
    """A batch to train on.

    images: float32 [N, C, H, W] in [0, 1]; labels: int64 [N]; index: int64 [N], places in the training set; targets:
    float32 [N, classes], only where mixup or CutMix mixed the batch, and labels then are those of the larger part.
    second: the same images under a second, stronger augmentation, where it was asked for.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    targets: Tensor | None = None
    second: Tensor | None = None
