"""LumiNet: logits as they stand out in the batch. Hossain et al., 2023, arXiv:2310.03669.

Each class's logits lose their mean over the batch and are divided by their deviation (biased, 1e-5 added to the
variance); then KL at temperature T, summed over classes, mean over the batch, times alpha^2 in place of T^2. Defaults
are the authors' for ResNet32x4 and ResNet8x4: alpha 34, T 4, CE 2. Mean and deviation depend on the batch in no simple
way. A linear warm-up belongs to the method; 20 of 240 epochs, kept as a share so that it carries over to recipes of
other lengths, is DKD's, on which the authors' code builds.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence, warmed_up
from methods._settings import Bound, LogUniform, NonNegative, Positive


def perception(logits: Tensor) -> Tensor:
    """Zero mean and unit deviation of each class over the batch.  [N, classes] -> [N, classes]."""
    centred = logits - logits.mean(dim=0)
    return centred / torch.sqrt(centred.pow(2).mean(dim=0) + 1e-5)


def luminet_loss(
    student: Tensor, teacher: Tensor, alpha: float = 34.0, temperature: float = 4.0
) -> Tensor:
    """alpha^2 * KL of perceptions at a temperature, mean over the batch.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    return (
        divergence(perception(student), perception(teacher.detach()), temperature).mean() * alpha**2
    )


class LumiNet(Method):
    """The student's logits follow the teacher's in how each class varies over the batch."""

    paper = Paper(
        "LumiNet: The Bright Side of Perceptual Knowledge Distillation",
        "Hossain et al.",
        "arXiv",
        2023,
        "arXiv:2310.03669",
    )
    formula = "alpha^2 * KL(softmax(h_teacher/T) || softmax(h_student/T)), h = logits standardised over the batch"
    needs = Needs(logits=True)
    minimum = 0.0
    assumes_batch = 64

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(10.0, 100.0)] = 34.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        warm_up: Annotated[float, Bound(0, 1)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 2.0,
    ):
        super().__init__()
        self.alpha, self.temperature, self.warm_up, self.ce = alpha, temperature, warm_up, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `luminet`, which alpha^2 weighs."""
        weight = self.alpha**2 * warmed_up(batch, self.warm_up)
        return {
            "luminet": (weight, luminet_loss(student.logits, teacher.logits, 1.0, self.temperature))
        }
