"""Averages the losses of an epoch, and checks that they are finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.training.losses import Loss


class EpochLog:
    """Collects the values of each batch, and returns their means when the epoch ends.

    The values stay on the device until then, so that no batch waits for a GPU.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._names: list[str] = []
        self._weights: dict[str, float] = {}

    def row(self, loss: Loss, labels: Tensor) -> Tensor:
        """Return the values of a batch to log, and remember what they stand for.

        Args:
            loss: The loss of the batch.
            labels: Labels of the batch, [N], used to compute the training accuracy.

        Returns:
            The total, the raw values in the order of `loss.raw`, and the share of correct
            predictions, float32 [values].
        """
        self._names = ["total", *loss.raw]
        self._weights = loss.weights

        correct = (loss.logits.detach().argmax(dim=1) == labels).float().mean()
        values = [loss.total, *loss.raw.values(), correct]
        return torch.stack([value.detach().float() for value in values])

    def add(self, row: Tensor) -> None:
        """Log a batch by its values, as `row` returned them."""
        self._rows.append(row)

    @property
    def finite(self) -> bool:
        """Whether all values are finite; waits for the device."""
        return bool(torch.stack(self._rows).isfinite().all())

    def rows(self) -> Tensor:
        """Return the values of all batches, float32 [batches, values]."""
        return torch.stack(self._rows)

    def names(self) -> dict[str, Any]:
        """Return what the values stand for, for `load`."""
        return {"names": self._names, "weights": self._weights}

    def load(self, rows: Tensor, names: Mapping[str, Any], device: torch.device) -> None:
        """Restore the batches of an interrupted epoch.

        Args:
            rows: What `rows` returned.
            names: What `names` returned.
            device: The device of the batches to come.
        """
        self._rows = list(rows.to(device).unbind())
        self._names = list(names["names"])
        self._weights = dict(names["weights"])

    def clear(self) -> None:
        """Discard all batches."""
        self._rows = []

    def close(self, number: int) -> dict[str, float]:
        """Return the metrics of the epoch, and discard its batches.

        Args:
            number: Number of the epoch, counted from 1, for the message.

        Raises:
            FloatingPointError: A loss was not finite; the message names the first step and term.
        """
        table = torch.stack(self._rows).double().cpu()
        self.clear()
        self._check_finite(table, number)

        *losses, hits = table.mean(dim=0).tolist()
        metrics = {f"loss/{name}": value for name, value in zip(self._names, losses, strict=True)}
        metrics |= {f"weight/{name}": weight for name, weight in self._weights.items()}
        metrics["train/acc1"] = 100 * hits

        return metrics

    def _check_finite(self, table: Tensor, number: int) -> None:
        steps = (~table.isfinite().all(dim=1)).nonzero()
        if len(steps) == 0:
            return

        step = int(steps[0])
        finite = table[step].isfinite().tolist()

        # The total comes last, because a non-finite term makes it non-finite too.
        terms = [*range(1, len(self._names)), 0]
        name = next(self._names[column] for column in terms if not finite[column])
        raise FloatingPointError(
            f"non-finite loss at epoch {number}, step {step + 1} (term {name})"
        )


def has_finite_weights(network: nn.Module) -> bool:
    """Return whether all weights of a network are finite."""
    return bool(_are_finite(network.state_dict()).all())


def check_weights(network: nn.Module, number: int) -> None:
    """Check that all weights of a network are finite.

    Args:
        network: The network.
        number: Number of the epoch, counted from 1, for the message.

    Raises:
        FloatingPointError: A weight is not finite.
    """
    weights = network.state_dict()
    finite = _are_finite(weights).tolist()
    for name, is_finite in zip(weights, finite, strict=True):
        if not is_finite:
            raise FloatingPointError(f"non-finite weights after epoch {number} ({name})")


def _are_finite(weights: Mapping[str, Tensor]) -> Tensor:
    """Return whether each of some tensors is finite, bool [tensors], for a single read."""
    return torch.stack([value.isfinite().all() for value in weights.values()])
