"""Augmentations of plug-ins."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from benchmark import seeds
from benchmark.plugins.kinds import AUGMENTATIONS
from benchmark.study.schema import OwnAugmentation


class OwnAugmentations:
    """The augmentations of plug-ins in an epoch, whose random draws depend on seed and step alone.

    Args:
        chosen: The augmentations, in order.
        seed: Seed of the augmentation.
        epoch: Number of the epoch.
    """

    def __init__(self, chosen: Sequence[OwnAugmentation], seed: int, epoch: int):
        self._chosen = chosen
        self._seed = seed
        self._epoch = epoch

    def augment(self, images: Tensor, step: int) -> Tensor:
        """Apply the augmentations to a batch.

        Args:
            images: The images, float32 [N, C, H, W] in [0, 1].
            step: Number of the batch in the epoch.
        """
        for index, own in enumerate(self._chosen):
            function = AUGMENTATIONS.get(own.name)
            assert function is not None
            generator = seeds.generator(self._seed, "own augmentation", index, self._epoch, step)
            images = function(images, generator, **own.settings)
        return images
