"""Mixup and CutMix: a batch and its own permutation become one batch, with targets in proportion."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.data.images import Loaded
from benchmark.study.schema import Recipe


def mixup(images: Tensor, partners: Tensor, share: float) -> Tensor:
    """Zhang et al., 2018, arXiv:1710.09412.  images, partners: float [N, C, H, W]; share: of the images, 0 to 1."""
    return share * images + (1 - share) * partners


def cutmix(
    images: Tensor, partners: Tensor, share: float, row: int, column: int
) -> tuple[Tensor, float]:
    """A box of the partners pasted in, and the share of the area that the images keep.

    Yun et al., 2019, arXiv:1905.04899, with the authors' box: centred at a pixel, clipped at the border.
    images, partners: float [N, C, H, W]; share: of the images, 0 to 1, before the box is clipped.
    """
    height, width = images.shape[2:]
    tall, wide = (int(length * math.sqrt(1 - share)) // 2 for length in (height, width))
    rows = slice(max(row - tall, 0), min(row + tall, height))
    columns = slice(max(column - wide, 0), min(column + wide, width))
    mixed = images.clone()
    mixed[:, :, rows, columns] = partners[:, :, rows, columns]
    return mixed, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)


class Mixer:
    """Mixes the batches of an epoch in their order, by draws from a stream of its own."""

    def __init__(self, recipe: Recipe, classes: int, seed: int, epoch: int):
        self.classes = classes
        self._alphas = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
        self._draw = np.random.Generator(np.random.PCG64(seeds.derive(seed, "mixing", epoch)))

    def mix(self, loaded: Loaded) -> Loaded:
        """A batch mixed with its permutation; as it is if the recipe has neither mixup nor CutMix."""
        alphas = [(name, alpha) for name, alpha in self._alphas.items() if alpha is not None]
        if not alphas:
            return loaded
        name, alpha = alphas[int(self._draw.integers(len(alphas)))]
        share = float(self._draw.beta(alpha, alpha))
        order = torch.from_numpy(self._draw.permutation(len(loaded.labels))).to(
            loaded.images.device
        )
        row, column = (int(self._draw.integers(length)) for length in loaded.images.shape[2:])
        partners = loaded.images[order]
        if name == "mixup":
            images = mixup(loaded.images, partners, share)
        else:
            images, share = cutmix(loaded.images, partners, share, row, column)
        one_hot = F.one_hot(loaded.labels, self.classes).to(torch.float32)
        targets = share * one_hot + (1 - share) * one_hot[order]
        labels = loaded.labels if share >= 0.5 else loaded.labels[order]
        return Loaded(images, labels, loaded.index, targets)
