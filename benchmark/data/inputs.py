"""The engine's interface to data: labelled inputs in order, and batches to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from benchmark.data.cache import Facts
from benchmark.data.view import View
from benchmark.study.schema import Augmentation


class Inputs(Protocol):
    """Labelled inputs that can be read in order, any number of times."""

    @property
    def labels(self) -> Tensor:
        """The label of each input, int64 [N], on the device."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """Yield all inputs in order, on the device; the last batch may be smaller.

        Images are float32 [n, C, H, W] in [0, 1].
        """


class InputSource(Protocol):
    """A data set that is ready to be read, before it is split.

    Attributes:
        facts: Properties of the data set as a whole.
        labels: Labels of all training inputs, int64 [N].
        test_labels: Labels of all test inputs, int64 [N].
    """

    facts: Facts
    labels: Tensor
    test_labels: Tensor

    def subset(self, indices: Tensor) -> Inputs:
        """Return the training inputs at `indices`, int64 [n]."""

    def test(self, indices: Tensor | None = None) -> Inputs:
        """Return the test inputs at `indices`, int64 [n]; all if there are none."""

    def epoch(
        self,
        indices: Tensor,
        batch_size: int,
        augmentation: Augmentation,
        view: View,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the full batches of an epoch, augmented, on the device.

        Args:
            indices: Indices of training inputs in the order of the epoch, int64 [n], on the device.
            batch_size: Inputs per batch; a last incomplete batch is dropped.
            augmentation: How each input is augmented.
            view: The view that the epoch shows; determines every random draw.
            start: Number of batches to leave out at the beginning, without reading them.
        """


@dataclass(frozen=True)
class Loaded:
    """A batch to train on.

    Attributes:
        inputs: The inputs of the networks, [N, ...]. Images are float32 [N, C, H, W] in [0, 1].
        labels: Labels, int64 [N]. For mixed inputs, the label of the larger part.
        index: Index of each input in the training set, int64 [N].
        targets: Class probabilities, float32 [N, classes]; None if the batch is not mixed.
        second: The same inputs under a second augmentation with RandAugment; None if no method
            needs a second view.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    targets: Tensor | None = None
    second: Tensor | None = None
