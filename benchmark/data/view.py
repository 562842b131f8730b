"""The view of each image that an epoch shows: where its random draws come from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import seeds


@dataclass(frozen=True)
class View:
    """The random draws for the images of an epoch, which depend on nothing else.

    Attributes:
        seed: Seed of the draws.
        number: Number of the epoch, or of one of the fixed views that epochs show in turn.
        count: Number of draws.
        rows: Which draw belongs to each image of the epoch, int64 [n], on the CPU. None if draw `i`
            belongs to the `i`-th image.
    """

    seed: int
    number: int
    count: int
    rows: Tensor | None = None

    def generator(self, role: str) -> torch.Generator:
        """Return a generator for the draws of a role."""
        return seeds.generator(self.seed, role, self.number)

    def arranged(self, draws: Tensor) -> Tensor:
        """Return draws, [..., count], in the order of the images, [..., n]."""
        return draws if self.rows is None else draws[..., self.rows]
