"""NormKD. Chi et al., 2023, arXiv:2308.00520, section 3.

Each sample has two temperatures, `tau` times the standard deviation of its logits: the teacher's for the teacher, the
student's for the student, through which the gradient flows too. The mean is not removed and nothing is added to the
deviation, which is unbiased (C - 1). Reduction: KL divergence summed over classes, times the square of the sample's
teacher temperature, mean over the batch, as in the authors' code; the paper's T^2 leaves open whose it is.

Constant logits have no deviation and give nan in that code. Here their softmax is uniform; where they are the teacher's
the sample counts nothing, the limit of the formula. Defaults are the authors' for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence
from methods._settings import LogUniform, NonNegative, Positive
from methods.dkd import decoupled


def normalised(logits: Tensor, tau: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits divided by their own temperature, and that temperature, which is 0 where they are constant.

    logits: [N, classes] -> [N, classes], [N]
    """
    variance = logits.var(dim=1, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(dim=1, keepdim=True)
    varied = variance > rounding**2
    temperature = tau * torch.where(varied, variance, 1.0).sqrt()
    return logits / temperature, torch.where(varied, temperature, 0.0).squeeze(1)


def normkd_loss(student: Tensor, teacher: Tensor, tau: float = 2.0) -> Tensor:
    """T_teacher^2 * KL(softmax(teacher / T_teacher) || softmax(student / T_student)), mean over the batch.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    wanted, temperature = normalised(teacher.detach(), tau)
    return (divergence(normalised(student, tau)[0], wanted) * temperature**2).mean()


def normkd_dkd_losses(
    student: Tensor, teacher: Tensor, labels: Tensor, tau: float = 2.0
) -> tuple[Tensor, Tensor]:
    """The same of DKD's two parts, TCKD and NCKD.

    student, teacher: logits [N, classes], labels: [N] -> two scalars. No gradient reaches the teacher.
    """
    wanted, temperature = normalised(teacher.detach(), tau)
    target, others = decoupled(normalised(student, tau)[0], wanted, labels)
    return (target * temperature**2).mean(), (others * temperature**2).mean()


class NormKD(Method):
    """Every sample is softened by as much as its logits are spread."""

    paper = Paper(
        "NormKD: Normalized Logits for Knowledge Distillation",
        "Chi et al.",
        "arXiv",
        2023,
        "arXiv:2308.00520",
    )
    formula = "T_t^2 * KL(softmax(teacher/T_t) || softmax(student/T_s)), T = tau * std of the sample's logits"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        tau: Annotated[float, Positive, LogUniform(0.5, 10.0)] = 2.0,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.tau, self.weight, self.ce = tau, weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `normkd`."""
        return {"normkd": (self.weight, normkd_loss(student.logits, teacher.logits, self.tau))}
