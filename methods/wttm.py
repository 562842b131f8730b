"""Weighted transformed teacher matching. Zheng & Yang, ICLR 2024, arXiv:2402.11148.

TTM with samples weighted by the sum over classes of p_teacher^exponent (exponent = 1/T): the
smoother the teacher's prediction, the more a sample counts. Reduction: weighted mean over the batch
without dividing by the weights, so that with 100 classes and exponent 0.2 a sample counts up to 40
times; no T^2. Defaults are those of the code's example, exponent 0.2 and weight 4, which that
example uses together with another method's loss.

Settings: published by the authors (the example of their code), for CIFAR-100, with another method's
loss.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods.ttm import matching


def smoothness(teacher: Tensor, exponent: float) -> Tensor:
    """Compute the sum over classes of p^exponent.

    Args:
        teacher: Logits [N, classes].
        exponent: 1 / T.

    Returns:
        Sums [N], from 1 to classes^(1 - exponent).
    """
    return torch.logsumexp(exponent * F.log_softmax(teacher, dim=1), dim=1).exp()


def wttm_loss(student: Tensor, teacher: Tensor, exponent: float = 0.2) -> Tensor:
    """Compute smoothness of the teacher * KL(p_teacher^exponent, normalised || p_student).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        exponent: 1 / T.

    Returns:
        Scalar: mean over the batch.
    """
    return (smoothness(teacher.detach(), exponent) * matching(student, teacher, exponent)).mean()


class WeightedTransformedTeacherMatching(Method):
    """Let the unsoftened student follow the softened teacher, more so where the teacher is unsure.

    Args:
        exponent: 1 / T.
        weight: Weight of the term.
    """

    paper = Paper(
        "Knowledge Distillation Based on Transformed Teacher Matching",
        "Zheng & Yang",
        "ICLR",
        2024,
        "arXiv:2402.11148",
    )
    formula = "sum(p_teacher^(1/T)) * KL(p_teacher^(1/T), normalised || p_student)"
    needs = Needs(logits=True)

    def __init__(
        self,
        exponent: Annotated[float, Positive, LogUniform(0.05, 1.0)] = 0.2,
        weight: Annotated[float, NonNegative, LogUniform(0.4, 40.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.exponent = exponent
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `wttm`."""
        return {"wttm": (self.weight, wttm_loss(student.logits, teacher.logits, self.exponent))}
