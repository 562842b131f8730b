"""Weighted soft labels. Zhou et al., ICLR 2021, arXiv:2102.00650, section 4.

Reduction: cross-entropy with the teacher's soft labels (the teacher's entropy stays in), summed over classes, times
each sample's weight, mean over the batch, times T^2. A sample's weight is 1 - exp(-CE_student / CE_teacher), both at
temperature 1, without gradient, 1e-7 added to the denominator as in the authors' code: samples that the student
already knows better than the teacher count less. Defaults are the code's, for CIFAR-100; ImageNet takes T 2, alpha 2.5.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative, Positive


def focus(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Each sample's weight, without gradient.  Logits [N, classes] each, labels [N] -> [N] from 0 to 1."""
    ours, theirs = (
        F.cross_entropy(logits.detach(), labels, reduction="none") for logits in (student, teacher)
    )
    return 1 - (-ours / (theirs + 1e-7)).exp()


def wsld_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 * weighted cross-entropy with softmax(teacher / T), mean over the batch.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    soft = F.softmax(teacher.detach() / temperature, dim=1)
    each = -(soft * F.log_softmax(student / temperature, dim=1)).sum(dim=1)
    return (focus(student, teacher, labels) * each).mean() * temperature**2


class WeightedSoftLabels(Method):
    """Soft labels count most where the student is worse than the teacher."""

    paper = Paper(
        "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective",
        "Zhou et al.",
        "ICLR",
        2021,
        "arXiv:2102.00650",
    )
    formula = "T^2 * mean of (1 - exp(-CE_student/CE_teacher)) * CE(softmax(teacher/T), softmax(student/T))"
    needs = Needs(logits=True)

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(0.225, 22.5)] = 2.25,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha, self.temperature, self.ce = alpha, temperature, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `wsld`."""
        return {
            "wsld": (
                self.alpha,
                wsld_loss(student.logits, teacher.logits, batch.labels, self.temperature),
            )
        }
