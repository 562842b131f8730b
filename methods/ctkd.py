"""Curriculum temperature. Li et al., AAAI 2023, arXiv:2211.16231, section 3.

Reduction: KL divergence summed over classes, mean over the batch, times T^2. T = start + range * sigmoid(g) with one
learned number g (the paper's global temperature; its instance-wise one is not here). g is trained beside the student
but against it: its gradient is multiplied by lambda, which falls from 0 to -1 by a cosine, so that g climbs the loss
while the student descends it. The factor T^2 takes part in that gradient, as in the authors' code.

Curriculum: 10 of 240 epochs, kept as a share so that it carries over to recipes of other lengths; epochs count from 1,
as in the authors' code. The code's highest temperature is start + range = 21, the paper says 20.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence
from methods._settings import Bound, LogUniform, NonNegative, Positive


def temperature_of(g: Tensor, start: float = 1.0, span: float = 20.0) -> Tensor:
    """The temperature, start + span * sigmoid(g).  Any shape -> the same."""
    return start + span * torch.sigmoid(g)


def decayed(epoch: float, loops: float = 10.0, high: float = 0.0, low: float = -1.0) -> float:
    """The factor of the temperature's gradient: from `high` at epoch 0 to `low` at epoch `loops` and after."""
    done = min(max(epoch, 0.0), loops) / loops if loops > 0 else 1.0
    return (math.cos(math.pi * done) + 1) / 2 * (high - low) + low


def scaled_gradient(value: Tensor, factor: float) -> Tensor:
    """The same value, whose gradient is multiplied by a factor; a negative one reverses it."""
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
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), mean over the batch, at the learned temperature.

    student, teacher: logits [N, classes]; g: one number, of shape [] or [1] -> scalar. No gradient reaches the teacher.
    """
    temperature = temperature_of(scaled_gradient(g, factor), start, span)
    return (
        divergence(student / temperature, teacher.detach() / temperature).mean() * temperature**2
    ).squeeze()


class CurriculumTemperature(Method):
    """Knowledge distillation at a temperature that learns to make the student's task harder."""

    paper = Paper(
        "Curriculum Temperature for Knowledge Distillation",
        "Li et al.",
        "AAAI",
        2023,
        "arXiv:2211.16231",
    )
    formula = "T^2 * KL(softmax(teacher/T) || softmax(student/T)), T = start + range * sigmoid(g), g climbs the loss"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        start: Annotated[float, Positive, LogUniform(0.5, 5.0)] = 1.0,
        span: Annotated[float, Positive, LogUniform(2.0, 40.0)] = 20.0,
        curriculum: Annotated[float, Bound(0, 1)] = 1 / 24,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.start, self.span, self.curriculum, self.weight, self.ce = (
            start,
            span,
            curriculum,
            weight,
            ce,
        )
        self.g = nn.Parameter(torch.ones(()))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `ctkd`."""
        factor = decayed(batch.epoch + 1, self.curriculum * batch.epochs)
        loss = ctkd_loss(student.logits, teacher.logits, self.g, factor, self.start, self.span)
        return {"ctkd": (self.weight, loss)}
