"""Weighted soft labels. Zhou et al., ICLR 2021, arXiv:2102.00650, section 4.

Reduction: cross-entropy with the teacher's soft labels (the teacher's entropy is not subtracted),
summed over classes, times each sample's weight, mean over the batch, times T^2. A sample's weight
is 1 - exp(-CE_student / CE_teacher), both at temperature 1, without a gradient, with 1e-7 added to
the denominator as in the authors' code: samples that the student already knows better than the
teacher count less. Defaults are the code's, for CIFAR-100; for ImageNet they are T 2 and alpha 2.5.

Settings: public code of others (cls_KD), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms


def focus(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compute each sample's weight.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes].
        labels: Class labels [N].

    Returns:
        Weights [N], from 0 to 1, without a gradient.
    """
    own = F.cross_entropy(student.detach(), labels, reduction="none")
    others = F.cross_entropy(teacher.detach(), labels, reduction="none")
    return 1 - (-own / (others + 1e-7)).exp()


def wsld_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """Compute T^2 * weighted cross-entropy with softmax(teacher / T).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    soft = F.softmax(teacher.detach() / temperature, dim=1)
    losses = -(soft * F.log_softmax(student / temperature, dim=1)).sum(dim=1)
    return (focus(student, teacher, labels) * losses).mean() * temperature**2


class WeightedSoftLabels(Method):
    """Weight soft labels most where the student is worse than the teacher.

    Args:
        alpha: Weight of the term.
        temperature: Softmax temperature T.
    """

    paper = Paper(
        "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective",
        "Zhou et al.",
        "ICLR",
        2021,
        "arXiv:2102.00650",
    )
    formula = (
        "T^2 * mean of (1 - exp(-CE_student/CE_teacher)) "
        "* CE(softmax(teacher/T), softmax(student/T))"
    )
    needs = Needs(logits=True)

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(0.225, 22.5)] = 2.25,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `wsld`."""
        loss = wsld_loss(student.logits, teacher.logits, batch.labels, self.temperature)
        return {"wsld": (self.alpha, loss)}
