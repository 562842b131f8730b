"""Logit regression. Ba & Caruana, NeurIPS 2014, arXiv:1312.6184, eq. 1.

Reduction: mean squared error over batch and classes of the logits as they are. The paper writes the sum over classes
(half of it), with no labels beside it; weight 0.1 with full cross-entropy is that of the public method collection
(Knowledge-Distillation-Zoo) that holds it next to the others.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of logits over batch and classes.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    return F.mse_loss(student, teacher.detach())


class LogitRegression(Method):
    """The student's logits are the teacher's, number by number."""

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
        self.weight, self.ce = weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `logit_mse`."""
        return {"logit_mse": (self.weight, logit_loss(student.logits, teacher.logits))}
