"""Variational information distillation. Ahn, Hu, Damianou, Lawrence & Dai, CVPR 2019.

arXiv:1904.05835, eq. 5 and 6. Reduction: mean over samples, channels and positions, summed over
stages, as in RepDistiller, the source of the weight. The variance of each channel is softplus(rho)
+ 1e-5, starts at 5 and is trained. mdistiller never trains it, because the optimizer is not given
the parameter; Knowledge-Distillation-Zoo adds 1e-6 instead of 1e-5. The larger of the two maps is
average-pooled to the size of the smaller. The value may be negative: it is the negative logarithm
of a density, without the constant.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from methods import (
    Batch,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Probe,
    Terms,
)
from methods._adapters import pooled_alike

EPS = 1e-5


def initial_rho(variance: float, eps: float = EPS) -> float:
    """Return the rho of a variance above `eps`: log(exp(variance - eps) - 1)."""
    return variance - eps + math.log(-math.expm1(eps - variance))


def gaussian_loss(mean: Tensor, teacher: Tensor, rho: Tensor, eps: float = EPS) -> Tensor:
    """Compute how unlikely the teacher's map is under a Gaussian with a variance per channel.

    Args:
        mean: Map regressed from the student's, [N, C, H, W].
        teacher: Map [N, C, H, W]; no gradient reaches it.
        rho: Parameter of each channel, [C]; the variance is v = log(1 + exp(rho)) + eps.
        eps: Smallest variance.

    Returns:
        Scalar: negative log-likelihood without its constant, the mean over all elements of
        ((mean - teacher)^2 / v + log v) / 2.
    """
    variance = (torch.logaddexp(rho, torch.zeros_like(rho)) + eps)[:, None, None]
    return 0.5 * ((mean - teacher.detach()).pow(2) / variance + variance.log()).mean()


class VariationalInformationDistillation(Method):
    """Let the student's maps predict the teacher's, with an uncertainty per channel.

    Args:
        weight: Weight of the term.
        variance: Initial variance.
    """

    paper = Paper(
        "Variational Information Distillation for Knowledge Transfer",
        "Ahn et al.",
        "CVPR",
        2019,
        "arXiv:1904.05835",
    )
    formula = "sum over stages of mean ((mu(f_student) - f_teacher)^2 / v_c + log v_c) / 2"
    needs = Needs(maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        variance: Annotated[float, Positive, LogUniform(0.5, 50.0)] = 5.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.variance = variance
        self.ce = ce

        self.regressors = nn.ModuleList()
        self.rhos = nn.ParameterList()

    def build(self, probe: Probe) -> None:
        """Make a regressor and the variances for each stage."""
        rho = initial_rho(max(self.variance, 2 * EPS))

        self.regressors = nn.ModuleList()
        self.rhos = nn.ParameterList()
        for (source, *_), (target, *_) in zip(probe.student.maps, probe.teacher.maps, strict=True):
            self.regressors.append(_regressor(source, target))
            self.rhos.append(nn.Parameter(torch.full((target,), rho)))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `vid`: the sum over stages."""
        losses = []
        stages = zip(self.regressors, self.rhos, student.maps, teacher.maps, strict=True)
        for regressor, rho, own, other in stages:
            source, target = pooled_alike(own, other)
            losses.append(gaussian_loss(regressor(source), target, rho))

        return {"vid": (self.weight, torch.stack(losses).sum())}


def _regressor(source: int, target: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(source, target, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(target, target, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(target, target, 1, bias=False),
    )
