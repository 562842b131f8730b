"""Label smoothing, a control. Szegedy et al., CVPR 2016, arXiv:1512.00567, section 7.

What a teacher's soft labels give beyond their being soft. A share of the target is spread evenly over all classes, the
label's own among them; Tf-KD's code spreads it over the other classes only (0.9985 of the value with 10 classes).
Reduction: cross-entropy summed over classes, mean over the batch. It replaces the plain cross-entropy, so `ce` is 0.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Output, Paper, Terms
from methods._logits import of_target
from methods._settings import Bound, LogUniform, NonNegative


def smoothed_loss(student: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with (1 - smoothing) on the label + smoothing / C everywhere, mean over the batch.

    student: logits [N, classes], labels: [N] -> scalar
    """
    return F.cross_entropy(student, labels, label_smoothing=smoothing)


def smoothed_elsewhere_loss(student: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with 1 - smoothing on the label, smoothing / (C - 1) on each other class, mean over the batch.

    student: logits [N, classes], labels: [N] -> scalar
    """
    logs = F.log_softmax(student, dim=1)
    label = of_target(logs, labels)
    others = (logs.sum(dim=1) - label) / (student.shape[1] - 1)
    return -((1 - smoothing) * label + smoothing * others).mean()


class LabelSmoothing(Method):
    """The student alone with softened labels."""

    paper = Paper(
        "Rethinking the Inception Architecture for Computer Vision",
        "Szegedy et al.",
        "CVPR",
        2016,
        "arXiv:1512.00567",
    )
    formula = "CE(student, (1 - eps) * label + eps / C)"
    control = True

    def __init__(
        self,
        smoothing: Annotated[float, Bound(0.0, 1.0), LogUniform(0.01, 0.5)] = 0.1,
        weight: Annotated[float, NonNegative] = 1.0,
        ce: Annotated[float, NonNegative] = 0.0,
    ):
        super().__init__()
        self.smoothing, self.weight, self.ce = smoothing, weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `label_smoothing`."""
        return {
            "label_smoothing": (
                self.weight,
                smoothed_loss(student.logits, batch.labels, self.smoothing),
            )
        }
