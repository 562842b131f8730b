"""Correlation congruence. Peng et al., ICCV 2019, arXiv:1904.01802, eq. 3 to 7.

Three different losses have this name; the default is RepDistiller's.

(a) RepDistiller's variant, described there as the authors' code: |f_s - f_t| of each sample times
that of the next sample in the batch, summed over features and averaged over the N - 1 neighbours.
It compares two linear embeddings of 128 features, both of which are trained; weight 0.02. It
penalises differences that occur together, and is not the correlation of the paper.
(b) torchdistill's: Frobenius distance of correlation matrices divided by N^2, with a bilinear or
Gaussian (Taylor series) kernel of the raw features; weight 0.003.
(c) Knowledge-Distillation-Zoo's: mean squared difference of Gaussian matrices of features at unit
length; weight 100.

The loss depends on the batch in no simple way: a sample's neighbour is the one drawn next.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Probe,
    Terms,
)
from methods._features import embeddings


def neighbour_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute variant (a): the sum over features of d_i d_(i+1), d = |student - teacher|.

    Args:
        student: Embedded features [N, D].
        teacher: Embedded features [N, D]. They receive a gradient, because the layer that
            embeds them is trained; detach that layer's input instead.

    Returns:
        Scalar: mean over pairs of consecutive samples.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(len(student) - 1, 1)


def taylor_kernel(features: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Compute the Gaussian kernel of all pairs of samples by its Taylor series.

    Args:
        features: Embeddings [N, D].
        gamma: Inverse width g of the Gaussian.
        order: Highest power of the series.

    Returns:
        e^(-2g) sum_p (2g)^p / p! (f_i . f_j)^p, [N, N].
    """
    products = features @ features.T
    scale = math.exp(-2 * gamma)

    powers = []
    for p in range(order + 1):
        coefficient = scale * (2 * gamma) ** p / math.factorial(p)
        powers.append(products.pow(p) * coefficient)

    return torch.stack(powers).sum(dim=0)


def frobenius_loss(
    student: Tensor,
    teacher: Tensor,
    kernel: Literal["bilinear", "gaussian"] = "gaussian",
    gamma: float = 0.4,
    order: int = 2,
) -> Tensor:
    """Compute variant (b): the distance of two correlation matrices.

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.
        kernel: Kernel that compares samples.
        gamma: Inverse width of the Gaussian.
        order: Highest power of the Taylor series.

    Returns:
        Scalar: Frobenius norm over N^2.
    """

    def correlation(features: Tensor) -> Tensor:
        if kernel == "bilinear":
            return features @ features.T
        return taylor_kernel(features, gamma, order)

    difference = correlation(student) - correlation(teacher.detach())
    distance: Tensor = torch.linalg.vector_norm(difference)
    return distance / len(student) ** 2


def taylor_loss(student: Tensor, teacher: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Compute variant (c): the difference of two Gaussian matrices of features at unit length.

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.
        gamma: Inverse width of the Gaussian.
        order: Highest power of the Taylor series.

    Returns:
        Scalar: mean squared difference.
    """
    own = taylor_kernel(F.normalize(student, dim=1), gamma, order)
    others = taylor_kernel(F.normalize(teacher.detach(), dim=1), gamma, order)
    return F.mse_loss(own, others)


class CorrelationCongruence(Method):
    """Penalise embedded features in which two consecutive samples both differ from the teacher.

    Args:
        weight: Weight of the term.
        features: Dimension of both embeddings.
    """

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
        self.weight = weight
        self.features = features
        self.ce = ce

        self.student: nn.Module = nn.Identity()
        self.teacher: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make both embeddings."""
        self.student = nn.Linear(probe.student.embedding[0], self.features)
        self.teacher = nn.Linear(probe.teacher.embedding[0], self.features)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `cc`."""
        own, others = embeddings(student, teacher)
        return {"cc": (self.weight, neighbour_loss(self.student(own), self.teacher(others)))}
