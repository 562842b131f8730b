"""Computes the metrics of plug-ins from the outputs of a finished network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.errors import InputError, first_line
from benchmark.plugins.kinds import Metric

SAMPLES = 8
"""Number of random samples on which a metric is checked."""


def compute(
    metrics: Sequence[Metric], logits: Tensor, labels: Tensor, teacher: Tensor | None
) -> dict[str, float]:
    """Return the values of metrics by key.

    Args:
        metrics: The metrics.
        logits: The network's logits on the test samples, [N, classes].
        labels: The labels of the samples, [N].
        teacher: The teacher's logits on the same samples; None for a teacher itself.

    Raises:
        InputError: A metric raises an error, or returns something that is not a number.
    """
    return {metric.measure.key: _value(metric, logits, labels, teacher) for metric in metrics}


def check(metrics: Sequence[Metric], classes: int) -> None:
    """Compute metrics on random outputs, so that mistakes show before anything is trained.

    Args:
        metrics: The metrics.
        classes: Number of classes.

    Raises:
        InputError: A metric raises an error, or returns something that is not a number.
    """
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, SAMPLES, classes, generator=generator)
    labels = torch.randint(0, classes, (SAMPLES,), generator=generator)
    compute(metrics, logits, labels, teacher)
    compute(metrics, teacher, labels, None)


def _value(metric: Metric, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> float:
    name = f"metric {metric.measure.column!r}"
    try:
        with torch.no_grad():
            value = metric.compute(logits, labels, teacher)
    except Exception as error:  # a plug-in may raise anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{name}: its plug-in failed: {reason}") from error

    try:
        return float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise InputError(f"{name}: its plug-in returned {kind}; return a number") from None
