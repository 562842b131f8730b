"""Mixup and CutMix: a batch and its targets are mixed with a permutation of themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed.

    Attributes:
        name: `mixup` or `cutmix`.
        share: The share of each image that is its own.
        row: Row of the centre of CutMix's box.
        column: Column of the centre of CutMix's box.
    """

    name: str
    share: float
    row: int
    column: int


class Mixer:
    """Mixes the batches of an epoch, with draws from a separate random stream.

    All draws of the epoch are made at once, and the permutations are copied to the device at once,
    so that no batch waits for it.

    Args:
        recipe: The recipe, for its batch size and mixing.
        classes: Number of classes.
        seed: Seed of the draws.
        epoch: Number of the epoch.
        steps: Number of batches in the epoch.
        size: Height and width of the images.
        device: Device of the batches.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: int,
        seed: int,
        epoch: int,
        steps: int,
        size: tuple[int, int],
        device: torch.device,
    ):
        self.classes = classes
        alphas = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
        self._alphas = [(name, alpha) for name, alpha in alphas.items() if alpha is not None]
        self._mixes: list[Mix] = []
        if not self._alphas:
            return

        draw = np.random.Generator(np.random.PCG64(seeds.derive(seed, "mixing", epoch)))
        orders = []
        for _ in range(steps):
            mix, order = self._draw(draw, recipe.batch_size, *size)
            self._mixes.append(mix)
            orders.append(order)
        self._orders = torch.from_numpy(np.stack(orders)).to(device)

    def mix(self, loaded: Loaded, step: int) -> Loaded:
        """Mix a batch with a permutation of itself, if the recipe uses mixup or CutMix.

        Args:
            loaded: The batch.
            step: Index of the batch in the epoch.
        """
        if not self._alphas:
            return loaded

        mix, order = self._mixes[step], self._orders[step]
        partners = loaded.inputs[order]
        share = mix.share
        if mix.name == "mixup":
            mixed = mixup(loaded.inputs, partners, share)
        else:
            mixed, share = cutmix(loaded.inputs, partners, share, mix.row, mix.column)

        one_hot = F.one_hot(loaded.labels, self.classes).to(torch.float32)
        targets = share * one_hot + (1 - share) * one_hot[order]
        labels = loaded.labels if share >= 0.5 else loaded.labels[order]
        return Loaded(mixed, labels, loaded.index, targets)

    def _draw(
        self, draw: np.random.Generator, count: int, height: int, width: int
    ) -> tuple[Mix, npt.NDArray[np.int64]]:
        """Draw how a batch is mixed, and with which permutation of itself."""
        # The order of these draws determines the batches: changing it changes every result.
        name, alpha = self._alphas[int(draw.integers(len(self._alphas)))]
        share = float(draw.beta(alpha, alpha))
        order = draw.permutation(count)
        row = int(draw.integers(height))
        column = int(draw.integers(width))
        return Mix(name, share, row, column), order
