"""Curriculum temperature. Li et al., AAAI 2023, arXiv:2211.16231, section 3.

Reduction: KL divergence summed over classes, mean over the batch, times T^2. T = start + span *
sigmoid(g) with one learned number g (the paper's global temperature; the instance-wise variant is
not implemented). g is trained alongside the student but adversarially: its gradient is multiplied
by lambda, which falls from 0 to -1 along a cosine, so g increases the loss while the student
decreases it. The factor T^2 is part of that gradient, as in the authors' code.

The curriculum lasts 10 of 240 epochs; this length is stored as a fraction so that it carries over
to other recipes. Epochs count from 1, as in the authors' code. The code's highest temperature is
start + span = 21; the paper says 20.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Terms,
)
from methods._logits import divergence


def temperature_of(g: Tensor, start: float = 1.0, span: float = 20.0) -> Tensor:
    """Return the temperature, start + span * sigmoid(g), in the shape of g."""
    return start + span * torch.sigmoid(g)


def decayed(epoch: float, loops: float = 10.0, high: float = 0.0, low: float = -1.0) -> float:
    """Return the factor of the temperature's gradient.

    Args:
        epoch: Current epoch, counted from 1.
        loops: Length of the curriculum in epochs.
        high: Factor at epoch 0.
        low: Factor from epoch `loops` on.
    """
    done = min(max(epoch, 0.0), loops) / loops if loops > 0 else 1.0
    return (math.cos(math.pi * done) + 1) / 2 * (high - low) + low


def scaled_gradient(value: Tensor, factor: float) -> Tensor:
    """Return the same value with its gradient multiplied by a factor, which may be negative."""
    fixed = value.detach()
    return fixed + factor * (value - fixed)


def ctkd_loss(
    student: Tensor,
    teacher: Tensor,
    g: Tensor,
    factor: float = -1.0,
    start: float = 1.0,
    span: float = 20.0,
) -> Tensor:
    """Compute T^2 * KL(softmax(teacher / T) || softmax(student / T)) at the learned temperature.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        g: The learned number, [] or [1].
        factor: Multiplier of the gradient of g.
        start: Lowest temperature.
        span: Highest minus lowest temperature.

    Returns:
        Scalar: mean over the batch.
    """
    temperature = temperature_of(scaled_gradient(g, factor), start, span)
    loss = divergence(student / temperature, teacher.detach() / temperature).mean()
    return (loss * temperature**2).squeeze()


class CurriculumTemperature(Method):
    """Distil at a learned temperature that makes the student's task harder.

    Args:
        start: Lowest temperature.
        span: Highest minus lowest temperature.
        curriculum: Length of the curriculum, as a share of the training.
        weight: Weight of the term.
    """

    paper = Paper(
        "Curriculum Temperature for Knowledge Distillation",
        "Li et al.",
        "AAAI",
        2023,
        "arXiv:2211.16231",
    )
    formula = (
        "T^2 * KL(softmax(teacher/T) || softmax(student/T)), "
        "T = start + span * sigmoid(g), g climbs the loss"
    )
    needs = Needs(logits=True)
    minimum = 0.0
    adversarial = True
    changes_by_epoch = True

    def __init__(
        self,
        start: Annotated[float, Positive, LogUniform(0.5, 5.0)] = 1.0,
        span: Annotated[float, Positive, LogUniform(2.0, 40.0)] = 20.0,
        curriculum: Annotated[float, Bound(0, 1)] = 1 / 24,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.start = start
        self.span = span
        self.curriculum = curriculum
        self.weight = weight
        self.ce = ce

        self.g = nn.Parameter(torch.ones(()))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ctkd`."""
        factor = decayed(batch.epoch + 1, self.curriculum * batch.epochs)
        loss = ctkd_loss(student.logits, teacher.logits, self.g, factor, self.start, self.span)
        return {"ctkd": (self.weight, loss)}
