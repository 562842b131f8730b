"""Transformed teacher matching. Zheng & Yang, ICLR 2024, arXiv:2402.11148.

Only the teacher is softened: its probabilities to the power `exponent` (1/T), normalised; the
student stays at temperature 1. Reduction: KL divergence summed over classes, mean over the batch,
without T^2. Defaults are those of the example in the authors' code, exponent 0.1 and weight 45 with
full cross-entropy; the code uses other values for other pairs.

Settings: published by the authors (the example of their code), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms


def transformed(teacher: Tensor, exponent: float) -> Tensor:
    """Compute log-probabilities of p^exponent / sum p^exponent.

    Args:
        teacher: Logits [N, classes].
        exponent: 1 / T.

    Returns:
        Log-probabilities [N, classes].
    """
    return F.log_softmax(teacher * exponent, dim=1)


def matching(student: Tensor, teacher: Tensor, exponent: float) -> Tensor:
    """Compute KL(transformed teacher || student) of each sample.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        exponent: 1 / T.

    Returns:
        Divergences [N].
    """
    target = transformed(teacher.detach(), exponent)
    return (target.exp() * (target - F.log_softmax(student, dim=1))).sum(dim=1)


def ttm_loss(student: Tensor, teacher: Tensor, exponent: float = 0.1) -> Tensor:
    """Compute KL(p_teacher^exponent, normalised || p_student).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        exponent: 1 / T.

    Returns:
        Scalar: mean over the batch.
    """
    return matching(student, teacher, exponent).mean()


class TransformedTeacherMatching(Method):
    """Let the unsoftened student follow the softened teacher.

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
    formula = "KL(p_teacher^(1/T), normalised || p_student)"
    needs = Needs(logits=True)

    def __init__(
        self,
        exponent: Annotated[float, Positive, LogUniform(0.05, 1.0)] = 0.1,
        weight: Annotated[float, NonNegative, LogUniform(4.5, 450.0)] = 45.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.exponent = exponent
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ttm`."""
        return {"ttm": (self.weight, ttm_loss(student.logits, teacher.logits, self.exponent))}
