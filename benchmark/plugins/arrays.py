"""Images in memory that a plug-in provides as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arrays:
    """Images and labels of a data set, as NumPy arrays or PyTorch tensors.

    Images are [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels, either uint8 or
    floating-point numbers in [0, 1]. Labels are whole numbers, not
    negative.

    Attributes:
        train_images: The training images.
        train_labels: Their labels, [N].
        test_images: The test images.
        test_labels: Their labels, [N].
        classes: Names of the classes, by label; None if every label of a training image is a class.
    """

    train_images: Any
    train_labels: Any
    test_images: Any
    test_labels: Any
    classes: Sequence[str] | None = None
