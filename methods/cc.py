"""Correlation congruence. Peng et al., ICCV 2019, arXiv:1904.01802, eq. 3 to 7; the default as in RepDistiller.

Three different losses go by this name. (a) RepDistiller's, called the authors' code there: |f_s - f_t| of each sample,
times that of the next sample in the batch, summed over features and averaged over the N - 1 neighbours. It is the
default, on two linear embeddings of 128 features, both of which train, with its weight 0.02. It punishes differences
that come together and is no correlation as in the paper. (b) torchdistill's: Frobenius distance of correlation
matrices over N^2, bilinear or Gaussian (Taylor series) kernel of features as they are, weight 0.003.
(c) Knowledge-Distillation-Zoo's: mean squared difference of Gaussian matrices of features at unit length, weight 100.

Depends on the batch in no simple way (neighbours are whoever was drawn next).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._features import embeddings
from methods._settings import Bound, LogUniform, NonNegative


def neighbour_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Variant (a): sum over features of d_i d_(i+1), d = |student - teacher|, mean over consecutive samples.

    student, teacher: embedded features [N, D] -> scalar. The teacher's side has a gradient, because its embedding
    learns: detach what is embedded.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(len(student) - 1, 1)


def taylor_kernel(features: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Gaussian kernel of all pairs by its Taylor series: e^(-2g) sum_p (2g)^p / p! (f_i.f_j)^p.  [N, D] -> [N, N]."""
    products = features @ features.T
    scale = math.exp(-2 * gamma)
    powers = [
        products.pow(p) * (scale * (2 * gamma) ** p / math.factorial(p)) for p in range(order + 1)
    ]
    return torch.stack(powers).sum(dim=0)


def frobenius_loss(
    student: Tensor,
    teacher: Tensor,
    kernel: Literal["bilinear", "gaussian"] = "gaussian",
    gamma: float = 0.4,
    order: int = 2,
) -> Tensor:
    """Variant (b): Frobenius norm of the difference of two correlation matrices, over N^2.

    student: [N, D], teacher: [N, D'] -> scalar. No gradient reaches the teacher.
    """
    tables = [
        one @ one.T if kernel == "bilinear" else taylor_kernel(one, gamma, order)
        for one in (student, teacher.detach())
    ]
    distance: Tensor = torch.linalg.vector_norm(tables[0] - tables[1])
    return distance / len(student) ** 2


def taylor_loss(student: Tensor, teacher: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Variant (c): mean squared difference of two Gaussian correlation matrices of features at unit length.

    student: [N, D], teacher: [N, D'] -> scalar. No gradient reaches the teacher.
    """
    given, wanted = (
        taylor_kernel(F.normalize(one, dim=1), gamma, order) for one in (student, teacher.detach())
    )
    return F.mse_loss(given, wanted)


class CorrelationCongruence(Method):
    """Embedded features of student and teacher differ in few places, and not in the same ones from sample to sample."""

    paper = Paper(
        "Correlation Congruence for Knowledge Distillation",
        "Peng et al.",
        "ICCV",
        2019,
        "arXiv:1904.01802",
    )
    formula = "mean_i sum_j d_ij d_(i+1)j, d = |W_s f_student - W_t f_teacher|"
    needs = Needs(embedding=True)
    assumes_batch = 64

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(2e-3, 2e-1)] = 0.02,
        features: Annotated[int, Bound(low=1)] = 128,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.features, self.ce = weight, features, ce
        self.student: nn.Module = nn.Identity()
        self.teacher: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Makes both embeddings."""
        self.student = nn.Linear(probe.student.embedding[0], self.features)
        self.teacher = nn.Linear(probe.teacher.embedding[0], self.features)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `cc`."""
        given, wanted = embeddings(student, teacher)
        return {"cc": (self.weight, neighbour_loss(self.student(given), self.teacher(wanted)))}
