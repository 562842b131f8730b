"""Decoupled knowledge distillation. Zhao et al., CVPR 2022, arXiv:2203.08679, eq. 7.

Reduction: both KL divergences are summed over the classes, averaged over the batch and multiplied
by T^2, as in the authors' code. TCKD compares two outcomes, the label or any other class; NCKD
compares the other classes among themselves, so with two classes it is zero. Everything is computed
from log-probabilities: the authors' logarithm of a summed softmax is infinite where the sum
underflows (a gap of 120 at T = 1), whereas this version stays finite; elsewhere the two agree.

Defaults are those of resnet32x4/resnet8x4 on CIFAR-100 (beta 8; 6 for vgg and wrn, 2 for
resnet56/20 and resnet110/32; OFA-KD's ImageNet runs use T = 1, beta 2). Both terms grow linearly
over the first 20 of 240 epochs; this length is stored as a fraction, so that it carries over to
other recipes.

Settings: published by the authors, for resnet32x4/resnet8x4 on CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

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
from methods._logits import divergence, target_and_rest, warmed_up, without_target


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute TCKD and NCKD of each sample at temperature 1.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].

    Returns:
        TCKD [N] and NCKD [N].
    """
    teacher = teacher.detach()
    target = divergence(target_and_rest(student, labels), target_and_rest(teacher, labels))
    others = divergence(without_target(student, labels), without_target(teacher, labels))
    return target, others


def dkd_losses(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> tuple[Tensor, Tensor]:
    """Compute TCKD and NCKD, times T^2.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Two scalars: each a mean over the batch.
    """
    target, others = decoupled(student / temperature, teacher / temperature, labels)
    return target.mean() * temperature**2, others.mean() * temperature**2


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Compute alpha * TCKD + beta * NCKD (eq. 7).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        alpha: Weight of TCKD.
        beta: Weight of NCKD.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    target, others = dkd_losses(student, teacher, labels, temperature)
    return alpha * target + beta * others


class DecoupledDistillation(Method):
    """Weight the teacher's confidence and its ranking of the wrong classes independently.

    Args:
        alpha: Weight of TCKD.
        beta: Weight of NCKD.
        temperature: Softmax temperature T.
        warm_up: Length of the linear warm-up, as a share of the training.
    """

    paper = Paper(
        "Decoupled Knowledge Distillation", "Zhao et al.", "CVPR", 2022, "arXiv:2203.08679"
    )
    formula = "T^2 * (alpha * KL(target or not) + beta * KL(among the other classes))"
    needs = Needs(logits=True)
    minimum = 0.0
    changes_by_epoch = True

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        beta: Annotated[float, NonNegative, LogUniform(0.8, 80.0)] = 8.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        warm_up: Annotated[float, Bound(0.0, 1.0)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.warm_up = warm_up
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `tckd` and `nckd`."""
        target, others = dkd_losses(student.logits, teacher.logits, batch.labels, self.temperature)
        share = warmed_up(batch, self.warm_up)
        return {"tckd": (self.alpha * share, target), "nckd": (self.beta * share, others)}
