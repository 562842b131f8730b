"""ABKD. Wang et al., ICML 2025, arXiv:2505.04560.

The alpha-beta divergence of both softmaxes: alpha = 1, beta = 0 is KL(teacher || student), alpha = 0, beta = 1 is
KL(student || teacher). Reduction: summed over classes, mean over the batch, without T^2, hence the large weight. Where
alpha, beta or their sum is 0 the divergence is a limit; there the authors' code divides once by the other exponent, and
not by its square as the limit has it, which differs unless that exponent is 1. We follow the code. From
log-probabilities, so that value and gradient stay finite where that code's are not (a gap of 120 at T = 1).

Defaults are those of resnet56/resnet20 on CIFAR-100; the training script's own example has weight 64.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative, Positive, Uniform


def ab_divergence(log_student: Tensor, log_teacher: Tensor, alpha: float, beta: float) -> Tensor:
    """The alpha-beta divergence of each sample.  Log-probabilities [N, classes] each -> [N]."""
    if alpha == 0 and beta == 0:
        return 0.5 * (log_student - log_teacher).pow(2).sum(dim=1)
    gap = log_teacher - log_student
    if alpha == 0:
        ours, theirs = (beta * log_student).exp(), (beta * log_teacher).exp()
        return (-ours * beta * gap - ours + theirs).sum(dim=1) / beta
    if beta == 0:
        ours, theirs = (alpha * log_student).exp(), (alpha * log_teacher).exp()
        return (theirs * alpha * gap - theirs + ours).sum(dim=1) / alpha
    if alpha + beta == 0:
        return ((alpha * gap).exp() - alpha * gap - 1).sum(dim=1) / alpha
    both, total = (alpha * log_teacher + beta * log_student).exp(), alpha + beta
    apart = (alpha * (total * log_teacher).exp() + beta * (total * log_student).exp()) / total
    return (apart - both).sum(dim=1) / (alpha * beta)


def abkd_loss(
    student: Tensor,
    teacher: Tensor,
    alpha: float = 0.8,
    beta: float = 0.3,
    temperature: float = 4.0,
) -> Tensor:
    """The alpha-beta divergence of softmax(teacher / T) and softmax(student / T), mean over the batch.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    return ab_divergence(log_student, log_teacher, alpha, beta).mean()


class AlphaBetaDistillation(Method):
    """Between forward and reverse KL: alpha says how much errors count, beta how much what the student is sure of."""

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
        self.alpha, self.beta, self.temperature, self.weight, self.ce = (
            alpha,
            beta,
            temperature,
            weight,
            ce,
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `abkd`."""
        loss = abkd_loss(student.logits, teacher.logits, self.alpha, self.beta, self.temperature)
        return {"abkd": (self.weight, loss)}
