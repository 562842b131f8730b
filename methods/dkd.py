"""Decoupled knowledge distillation. Zhao et al., CVPR 2022, arXiv:2203.08679, eq. 7.

Reduction: both KL divergences are summed over classes, mean over the batch, times T^2, as in the authors' code. TCKD
compares two outcomes, the label or any other class; NCKD compares the other classes among themselves, so with two
classes it is zero. Everything is computed from log-probabilities: the authors' log of a summed softmax is infinite
where it underflows (a gap of 120 at T = 1), this one is not, and elsewhere the two agree.

Defaults are those of resnet32x4/resnet8x4 on CIFAR-100 (beta 8; 6 for vgg and wrn, 2 for resnet56/20 and resnet110/32;
OFA-KD's ImageNet runs take T = 1, beta 2). Both terms grow linearly over the first 20 of 240 epochs, kept as a share so
that it carries over to recipes of other lengths.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence, target_and_rest, warmed_up, without_target
from methods._settings import Bound, LogUniform, NonNegative, Positive


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's TCKD and NCKD at temperature 1.

    student, teacher: logits [N, classes], labels: [N] -> [N], [N]. No gradient reaches the teacher.
    """
    teacher = teacher.detach()
    target = divergence(target_and_rest(student, labels), target_and_rest(teacher, labels))
    return target, divergence(without_target(student, labels), without_target(teacher, labels))


def dkd_losses(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD, each mean over the batch, times T^2.

    student, teacher: logits [N, classes], labels: [N] -> two scalars. No gradient reaches the teacher.
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
    """The sum alpha * TCKD + beta * NCKD.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    target, others = dkd_losses(student, teacher, labels, temperature)
    return alpha * target + beta * others


class DecoupledDistillation(Method):
    """How sure the teacher is, and what it makes of the wrong classes, count apart from each other."""

    paper = Paper(
        "Decoupled Knowledge Distillation", "Zhao et al.", "CVPR", 2022, "arXiv:2203.08679"
    )
    formula = "T^2 * (alpha * KL(target or not) + beta * KL(among the other classes))"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        beta: Annotated[float, NonNegative, LogUniform(0.8, 80.0)] = 8.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        warm_up: Annotated[float, Bound(0.0, 1.0)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha, self.beta, self.temperature, self.warm_up, self.ce = (
            alpha,
            beta,
            temperature,
            warm_up,
            ce,
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `tckd` and `nckd`."""
        target, others = dkd_losses(student.logits, teacher.logits, batch.labels, self.temperature)
        share = warmed_up(batch, self.warm_up)
        return {"tckd": (self.alpha * share, target), "nckd": (self.beta * share, others)}
