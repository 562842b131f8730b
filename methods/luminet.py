"""LumiNet: logits standardised over the batch. Hossain et al., 2023, arXiv:2310.03669.

The logits of each class are standardised over the batch (biased deviation, 1e-5 added to the
variance). Reduction: KL at temperature T, summed over classes, mean over the batch, times alpha^2
in place of T^2. Mean and deviation depend on the batch in no simple way.

The method has a linear warm-up of its own (`LUMINET.WARMUP` of the authors' code): 20 of 240 epochs
on CIFAR-100, 1 of 100 on ImageNet. The length is stored as a fraction so that it carries over to
other recipes.

Settings: published by the authors, for resnet32x4/resnet8x4 on CIFAR-100. They are alpha 34, T 4
and CE 2; other pairs have others (vgg13/vgg8: 11, 2, 1.3; wrn_40_2/wrn_40_1: 75, 8, 1; ResNet-34/18
on ImageNet: 2, 1, 0.7).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

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
from methods._logits import divergence, warmed_up


def perception(logits: Tensor) -> Tensor:
    """Standardise logits [N, classes] to zero mean and unit deviation per class."""
    centred = logits - logits.mean(dim=0)
    return centred / torch.sqrt(centred.pow(2).mean(dim=0) + 1e-5)


def luminet_loss(
    student: Tensor, teacher: Tensor, alpha: float = 34.0, temperature: float = 4.0
) -> Tensor:
    """Compute alpha^2 * KL of the perceptions at a temperature.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        alpha: Number whose square replaces T^2.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    losses = divergence(perception(student), perception(teacher.detach()), temperature)
    return losses.mean() * alpha**2


class LumiNet(Method):
    """Let the logits of each class vary over the batch as the teacher's do.

    Args:
        alpha: Number whose square is the weight of the term.
        temperature: Softmax temperature T.
        warm_up: Length of the linear warm-up, as a share of the training.
    """

    paper = Paper(
        "LumiNet: The Bright Side of Perceptual Knowledge Distillation",
        "Hossain et al.",
        "arXiv",
        2023,
        "arXiv:2310.03669",
    )
    formula = (
        "alpha^2 * KL(softmax(h_teacher/T) || softmax(h_student/T)), "
        "h = logits standardised over the batch"
    )
    needs = Needs(logits=True)
    minimum = 0.0
    assumes_batch = 64
    changes_by_epoch = True

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(10.0, 100.0)] = 34.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        warm_up: Annotated[float, Bound(0, 1)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 2.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.temperature = temperature
        self.warm_up = warm_up
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `luminet`, weighted by alpha^2."""
        weight = self.alpha**2 * warmed_up(batch, self.warm_up)
        loss = luminet_loss(student.logits, teacher.logits, 1.0, self.temperature)
        return {"luminet": (weight, loss)}
