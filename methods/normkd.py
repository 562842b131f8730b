"""NormKD. Chi et al., 2023, arXiv:2308.00520, section 3.

Each sample has two temperatures, `tau` times the standard deviation of its logits: the teacher's
for the teacher, and the student's for the student, through which the gradient flows too. The mean
is not removed and nothing is added to the deviation, which is unbiased (C - 1). Reduction: KL
divergence summed over classes, times the square of the sample's teacher temperature, mean over the
batch, as in the authors' code; the paper does not specify whose temperature its T^2 refers to.

Constant logits have zero deviation and result in nan in that code. Here their softmax is uniform; a
sample whose teacher logits are constant contributes nothing, which is the limit of the formula.
Defaults are the authors' for CIFAR-100.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods._logits import divergence
from methods.dkd import decoupled


def normalised(logits: Tensor, tau: float = 2.0) -> tuple[Tensor, Tensor]:
    """Divide logits by the temperature of their sample.

    Args:
        logits: Logits [N, classes].
        tau: Ratio of temperature to standard deviation.

    Returns:
        The divided logits, [N, classes], and the temperatures, [N], which are 0 where logits are
        constant.
    """
    variance = logits.var(dim=1, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(dim=1, keepdim=True)
    varies = variance > rounding**2

    temperature = tau * torch.where(varies, variance, 1.0).sqrt()
    return logits / temperature, torch.where(varies, temperature, 0.0).squeeze(1)


def normkd_loss(student: Tensor, teacher: Tensor, tau: float = 2.0) -> Tensor:
    """Compute T_t^2 * KL(softmax(teacher / T_t) || softmax(student / T_s)).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        tau: Ratio of temperature to standard deviation.

    Returns:
        Scalar: mean over the batch.
    """
    own, _ = normalised(student, tau)
    others, temperature = normalised(teacher.detach(), tau)
    return (divergence(own, others) * temperature**2).mean()


def normkd_dkd_losses(
    student: Tensor, teacher: Tensor, labels: Tensor, tau: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Compute the normalised losses for both parts of DKD, TCKD and NCKD.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        tau: Ratio of temperature to standard deviation.

    Returns:
        Two scalars: each a mean over the batch.
    """
    own, _ = normalised(student, tau)
    others, temperature = normalised(teacher.detach(), tau)
    tckd, nckd = decoupled(own, others, labels)
    return (tckd * temperature**2).mean(), (nckd * temperature**2).mean()


class NormKD(Method):
    """Soften every sample by the spread of its logits.

    Args:
        tau: Ratio of temperature to standard deviation.
        weight: Weight of the term.
    """

    paper = Paper(
        "NormKD: Normalized Logits for Knowledge Distillation",
        "Chi et al.",
        "arXiv",
        2023,
        "arXiv:2308.00520",
    )
    formula = (
        "T_t^2 * KL(softmax(teacher/T_t) || softmax(student/T_s)), "
        "T = tau * std of the sample's logits"
    )
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        tau: Annotated[float, Positive, LogUniform(0.5, 10.0)] = 2.0,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.tau = tau
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `normkd`."""
        return {"normkd": (self.weight, normkd_loss(student.logits, teacher.logits, self.tau))}
