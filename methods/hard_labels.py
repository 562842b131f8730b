"""Hard labels of the teacher, a control.

What is left of distillation when only the teacher's first choice is known: cross-entropy with the class that it ranks
first, mean over the batch, in place of the labels. DeiT (Touvron et al., ICML 2021, arXiv:2012.12877, eq. 3) takes half
of it and half of the plain cross-entropy: `weight` 0.5, `ce` 0.5.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Terms
from methods._settings import NonNegative


def hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy with the teacher's most likely class, mean over the batch.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    return F.cross_entropy(student, teacher.argmax(dim=1))


class HardLabels(Method):
    """The teacher's decisions without its doubts."""

    formula = "CE(student, argmax teacher)"
    needs = Needs(logits=True)
    control = True

    def __init__(
        self, weight: Annotated[float, NonNegative] = 1.0, ce: Annotated[float, NonNegative] = 0.0
    ):
        super().__init__()
        self.weight, self.ce = weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `hard_labels`."""
        return {"hard_labels": (self.weight, hard_loss(student.logits, teacher.logits))}
