"""The training inputs of a split, read in batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark.data.augmentation import Squares
from benchmark.data.inputs import InputSource, Loaded
from benchmark.data.mixing import Mixer
from benchmark.data.own_augmentation import OwnAugmentations
from benchmark.data.view import View
from benchmark.study.schema import Recipe


class TrainingSet:
    """Reads the inputs of a training set in any order, augmented and mixed.

    Attributes:
        labels: Their labels, int64 [samples], on the device.
    """

    def __init__(self, source: InputSource, index: Tensor, labels: Tensor, device: torch.device):
        """Choose the training set.

        Args:
            source: The source of the inputs.
            index: Indices of the training set in the source, int64 [samples], on the device.
            labels: Their labels, int64 [samples], on the device.
            device: Device of the batches.
        """
        self.labels = labels
        self._source = source
        self._index = index
        self._device = device

    def batches(
        self, order: Tensor, mixer: Mixer, recipe: Recipe, view: View, start: int
    ) -> Iterator[Loaded]:
        """Yield full batches of one view.

        Args:
            order: Order of the inputs, as indices into the training set, int64 [n], on the device.
            mixer: Mixes the batches.
            recipe: The recipe, for its batch size and augmentation.
            view: The view of the inputs in this order.
            start: Number of batches to leave out at the beginning; their images are not read.
        """
        size = recipe.batch_size
        squares = self._squares(recipe, view)
        own = OwnAugmentations(recipe.augmentation.own or (), view.seed, view.number)

        steps = len(order) // size
        batches = self._source.epoch(self._index[order], size, recipe.augmentation, view, start)
        for step, inputs in zip(range(start, steps), batches, strict=True):
            at = slice(step * size, (step + 1) * size)
            index = order[at]
            if squares is not None:
                inputs = squares.cut(inputs, at)
            inputs = own.augment(inputs, step)
            yield mixer.mix(Loaded(inputs, self.labels[index], index), step)

    def _squares(self, recipe: Recipe, view: View) -> Squares | None:
        """Draw the squares that cutout fills in a view."""
        side = recipe.augmentation.cutout
        if side is None:
            return None

        facts = self._source.facts
        colour = torch.tensor(facts.mean, dtype=torch.float32, device=self._device)
        return Squares(side, colour, view, facts.size)
