"""Mixup and CutMix: a batch and its targets are mixed with a permutation of themselves."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.data.inputs import Loaded
from benchmark.study.schema import Recipe


def mixup(images: Tensor, partners: Tensor, share: float) -> Tensor:
    """Interpolate between images and their partners.

    Zhang et al., ICLR 2018, arXiv:1710.09412.

    Args:
        images: The images, float [N, C, H, W].
        partners: The partner of each image, float [N, C, H, W].
        share: Weight of the images, 0 to 1.
    """
    return share * images + (1 - share) * partners


def cutmix(
    images: Tensor, partners: Tensor, share: float, row: int, column: int
) -> tuple[Tensor, float]:
    """Paste a box of each partner into its image.

    Yun et al., ICCV 2019, arXiv:1905.04899, with the authors' box: centred at a pixel and clipped
    at the border.

    Args:
        images: The images, float [N, C, H, W].
        partners: The partner of each image, float [N, C, H, W].
        share: Share of the area that the images keep, 0 to 1, before the box is clipped.
        row: Row of the box's centre.
        column: Column of the box's centre.

    Returns:
        The mixed images, and the share of the area that the images keep.
    """
    height, width = images.shape[2:]
    half_height = int(height * math.sqrt(1 - share)) // 2
    half_width = int(width * math.sqrt(1 - share)) // 2
    rows = slice(max(row - half_height, 0), min(row + half_height, height))
    columns = slice(max(column - half_width, 0), min(column + half_width, width))

    mixed = images.clone()
    mixed[:, :, rows, columns] = partners[:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


class Mixer:
    """Mixes the batches of an epoch in order, with draws from a separate random stream."""

    def __init__(self, recipe: Recipe, classes: int, seed: int, epoch: int):
        self.classes = classes
        alphas = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
        self._alphas = [(name, alpha) for name, alpha in alphas.items() if alpha is not None]
        self._generator = np.random.Generator(np.random.PCG64(seeds.derive(seed, "mixing", epoch)))

    def mix(self, loaded: Loaded) -> Loaded:
        """Mix a batch with a permutation of itself, if the recipe uses mixup or CutMix."""
        if not self._alphas:
            return loaded

        height, width = loaded.inputs.shape[2:]
        name, share, order, row, column = self._draw(len(loaded.labels), height, width)
        order = order.to(loaded.inputs.device)

        partners = loaded.inputs[order]
        if name == "mixup":
            mixed = mixup(loaded.inputs, partners, share)
        else:
            mixed, share = cutmix(loaded.inputs, partners, share, row, column)

        one_hot = F.one_hot(loaded.labels, self.classes).to(torch.float32)
        targets = share * one_hot + (1 - share) * one_hot[order]
        labels = loaded.labels if share >= 0.5 else loaded.labels[order]
        return Loaded(mixed, labels, loaded.index, targets)

    def skip(self, batches: int, batch_size: int, height: int, width: int) -> None:
        """Make the draws of the first batches of an epoch, without their images."""
        if self._alphas:
            for _ in range(batches):
                self._draw(batch_size, height, width)

    def _draw(self, count: int, height: int, width: int) -> tuple[str, float, Tensor, int, int]:
        """Draw how a batch is mixed: kind, share, permutation, and centre of the box."""
        # The order of these draws determines the batches: changing it changes every result.
        draw = self._generator
        name, alpha = self._alphas[int(draw.integers(len(self._alphas)))]
        share = float(draw.beta(alpha, alpha))
        order = torch.from_numpy(draw.permutation(count))
        row = int(draw.integers(height))
        column = int(draw.integers(width))
        return name, share, order, row, column
