"""ABKD. Wang et al., ICML 2025, arXiv:2505.04560.

The alpha-beta divergence of the two softmaxes: alpha = 1, beta = 0 is KL(teacher || student), alpha
= 0, beta = 1 is KL(student || teacher). Reduction: sum over classes, mean over the batch, without
T^2, hence the large weight.

Where alpha, beta or their sum is 0, the divergence is a limit. In that case the authors' code
divides by the other exponent, whereas the limit divides by its square; the two differ unless that
exponent is 1, and this file follows the code. The divergence is computed from log-probabilities, so
its value and gradient stay finite where those of the code do not (a gap of 120 between logits at T
= 1).

The defaults are those for resnet56/resnet20 on CIFAR-100; the training script's own example has
weight 64.

Settings: published by the authors, for resnet56/resnet20 on CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import (
    Batch,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Terms,
    Uniform,
)


def ab_divergence(log_student: Tensor, log_teacher: Tensor, alpha: float, beta: float) -> Tensor:
    """Compute the alpha-beta divergence of each sample.

    Args:
        log_student: Log-probabilities [N, classes].
        log_teacher: Log-probabilities [N, classes].
        alpha: Exponent of the teacher's probabilities.
        beta: Exponent of the student's probabilities.

    Returns:
        Divergences [N].
    """
    if alpha == 0 and beta == 0:
        return 0.5 * (log_student - log_teacher).pow(2).sum(dim=1)

    gap = log_teacher - log_student
    if alpha == 0:
        ours = (beta * log_student).exp()
        theirs = (beta * log_teacher).exp()
        return (-ours * beta * gap - ours + theirs).sum(dim=1) / beta
    if beta == 0:
        ours = (alpha * log_student).exp()
        theirs = (alpha * log_teacher).exp()
        return (theirs * alpha * gap - theirs + ours).sum(dim=1) / alpha
    if alpha + beta == 0:
        return ((alpha * gap).exp() - alpha * gap - 1).sum(dim=1) / alpha

    total = alpha + beta
    mixed = (alpha * log_teacher + beta * log_student).exp()
    apart = (alpha * (total * log_teacher).exp() + beta * (total * log_student).exp()) / total
    return (apart - mixed).sum(dim=1) / (alpha * beta)


def abkd_loss(
    student: Tensor,
    teacher: Tensor,
    alpha: float = 0.8,
    beta: float = 0.3,
    temperature: float = 4.0,
) -> Tensor:
    """Compute the alpha-beta divergence of softmax(teacher / T) and softmax(student / T).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        alpha: Exponent of the teacher's probabilities.
        beta: Exponent of the student's probabilities.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    return ab_divergence(log_student, log_teacher, alpha, beta).mean()


class AlphaBetaDistillation(Method):
    """Distil logits by a divergence between forward and reverse KL.

    Args:
        alpha: Emphasis on large errors.
        beta: Emphasis on classes about which the student is confident.
        temperature: Softmax temperature T.
        weight: Weight of the term.
    """

    paper = Paper(
        "ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge Distillation via "
        "alpha-beta-Divergence",
        "Wang et al.",
        "ICML",
        2025,
        "arXiv:2505.04560",
    )
    formula = "-1/(ab) sum p_t^a p_s^b - a/(a+b) p_t^(a+b) - b/(a+b) p_s^(a+b), p = softmax(z/T)"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, Uniform(0.1, 1.0)] = 0.8,
        beta: Annotated[float, NonNegative, Uniform(0.1, 1.0)] = 0.3,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        weight: Annotated[float, NonNegative, LogUniform(3.2, 320.0)] = 32.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `abkd`."""
        loss = abkd_loss(student.logits, teacher.logits, self.alpha, self.beta, self.temperature)
        return {"abkd": (self.weight, loss)}
