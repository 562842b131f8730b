"""What happens to gradients before an update: accumulation and clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Gradient = Sequence[Tensor | None]
"""The gradient of a loss with respect to each parameter; None where the loss doesn't depend on it.

An optimizer that treats the parts of a loss apart has a gradient for each part.
"""


@dataclass(frozen=True)
class Turn:
    """The position of a batch among the batches that make one update.

    Attributes:
        first: Whether it is the first of them.
        last: Whether it is the last of them.
        batches: Their number.
    """

    first: bool = True
    last: bool = True
    batches: int = 1


ALONE = Turn()
"""The position of a batch that makes an update of its own."""


def turn(step: int, steps: int, accumulate: int | None) -> Turn:
    """Return the position of a batch among the batches that make one update.

    Args:
        step: Index of the batch in the epoch.
        steps: Batches per epoch.
        accumulate: Number of batches per update; None for one. At the end of an epoch, there may
            be fewer.
    """
    size = accumulate or 1
    position = step % size
    batches = min(size, steps - (step - position))
    return Turn(position == 0, position == batches - 1, batches)


@dataclass(frozen=True)
class Clipping:
    """Limits gradients, in place.

    Attributes:
        norm: Maximum norm of the gradient of all parameters; None for no limit.
        value: Maximum magnitude of each value of a gradient; None for no limit.
    """

    norm: float | None = None
    value: float | None = None

    def apply(self, *parts: Gradient) -> None:
        """Limit the values of each part's gradient, then the norm of the sum of the parts.

        All parts are shortened by the same factor, which keeps their proportion.
        """
        present = [value for part in parts for value in part if value is not None]
        if self.value is not None:
            for gradient in present:
                gradient.clamp_(-self.value, self.value)

        if self.norm is not None:
            total = torch.nn.utils.get_total_norm(_sum(parts))
            factor = (self.norm / (total + 1e-6)).clamp(max=1.0)  # the constant is torch's
            for gradient in present:
                gradient.mul_(factor)


def _sum(parts: Sequence[Gradient]) -> list[Tensor]:
    """Return the sum of the parts' gradients for each parameter that any part depends on."""
    sums = []
    for values in zip(*parts, strict=True):
        present = [value for value in values if value is not None]
        if present:
            sums.append(sum(present[1:], start=present[0]))
    return sums
