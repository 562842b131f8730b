"""Information theoretic representation distillation. Miles et al., BMVC 2022, arXiv:2112.00459.

Reduction (section 3): the correlation term is the logarithm (base 2) of a sum over dimensions, the
mutual term a sum over all pairs of samples of squared, trace-normalised Gram matrices. Embeddings
are standardised over the batch with the unbiased deviation and divided by N, so a correlation is at
most (N - 1) / N and the loss never reaches zero. As in the authors' code, one linear layer serves
both terms, but the mutual term only where the dimensions differ.

Published code has alpha 1.01 as well as 1.5; the default 1.01 is the authors' for CIFAR-100. The
weights 2 and 1 were found with batches of 64. A dimension that is constant over the batch, for
which the code returns nan, has correlation 0 here.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

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
from methods._features import embeddings, unit_rows


def correlation_loss(student: Tensor, teacher: Tensor, alpha: float = 1.01) -> Tensor:
    """Compute log2 of the sum over dimensions of |(c - 1)^2|^alpha.

    c is the correlation of a dimension over the batch.

    Args:
        student: Embedded features [N, D].
        teacher: Features [N, D]; no gradient reaches them.
        alpha: Exponent.

    Returns:
        Scalar.
    """
    correlation = (_standardised(student) * _standardised(teacher.detach())).mean(dim=0)
    return (correlation - 1).pow(2).pow(alpha).sum().log2()


def mutual_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the sum of G_s^2 - G_st^2.

    G_s is the student's Gram matrix, G_st its elementwise product with the teacher's, both of unit
    trace.

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.

    Returns:
        Scalar.
    """
    student, teacher = unit_rows(student), unit_rows(teacher.detach())
    own = student @ student.T
    own_information = _of_unit_trace(own).pow(2)
    joint_information = _of_unit_trace(own * (teacher @ teacher.T)).pow(2)

    return (own_information - joint_information).sum()


class InformationTheoreticDistillation(Method):
    """Correlate each dimension with the teacher's, and match the information in similarities.

    Args:
        correlation: Weight of the correlation term.
        mutual: Weight of the mutual term.
        alpha: Exponent of the correlation term.
    """

    paper = Paper(
        "Information Theoretic Representation Distillation",
        "Miles et al.",
        "BMVC",
        2022,
        "arXiv:2112.00459",
    )
    formula = (
        "log2 sum_d |(corr_d - 1)^2|^alpha; and sum G_s^2 - G_st^2 of Gram matrices of unit trace"
    )
    needs = Needs(embedding=True)
    assumes_batch = 64

    def __init__(
        self,
        correlation: Annotated[float, NonNegative, LogUniform(0.2, 20.0)] = 2.0,
        mutual: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        alpha: Annotated[float, Positive, LogUniform(0.5, 2.0)] = 1.01,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.correlation = correlation
        self.mutual = mutual
        self.alpha = alpha
        self.ce = ce

        self.embed: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make the linear layer to the teacher's dimension."""
        self.embed = nn.Linear(probe.student.embedding[0], probe.teacher.embedding[0])

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `correlation` and `mutual`."""
        features, targets = embeddings(student, teacher)
        embedded = self.embed(features)
        compared = features if features.shape == targets.shape else embedded

        return {
            "correlation": (self.correlation, correlation_loss(embedded, targets, self.alpha)),
            "mutual": (self.mutual, mutual_loss(compared, targets)),
        }


def _standardised(features: Tensor) -> Tensor:
    """Standardise over the batch by the unbiased deviation.

    A dimension whose values are all the same, up to rounding, becomes zero.
    """
    centred = features - features.mean(dim=0)
    variance = centred.pow(2).sum(dim=0) / max(len(features) - 1, 1)
    rounding = 4 * torch.finfo(features.dtype).eps * features.detach().abs().amax(dim=0)
    varies = variance > rounding.pow(2)
    return torch.where(varies, centred, 0.0) / torch.where(varies, variance, 1.0).sqrt()


def _of_unit_trace(gram: Tensor) -> Tensor:
    trace = gram.diagonal().sum()
    return gram / torch.where(trace > 0, trace, torch.ones_like(trace))
