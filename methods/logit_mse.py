"""Logit regression. Ba & Caruana, NeurIPS 2014, arXiv:1312.6184, eq. 1.

Reduction: squared error of the raw logits, mean over batch and classes. The paper uses half the sum
over classes, without labels; weight 0.1 with full cross-entropy is that of
Knowledge-Distillation-Zoo.

Settings: public code of others (Knowledge-Distillation-Zoo), not the authors'.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Terms


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare raw logits (eq. 1).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.

    Returns:
        Scalar: squared difference, mean over batch and classes.
    """
    return F.mse_loss(student, teacher.detach())


class LogitRegression(Method):
    """Regress the student's logits onto the teacher's.

    Args:
        weight: Weight of the term.
    """

    paper = Paper(
        "Do Deep Nets Really Need to be Deep?", "Ba & Caruana", "NeurIPS", 2014, "arXiv:1312.6184"
    )
    formula = "mean (z_student - z_teacher)^2"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.01, 1.0)] = 0.1,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `logit_mse`."""
        return {"logit_mse": (self.weight, logit_loss(student.logits, teacher.logits))}
