"""Label smoothing, a control. Szegedy et al., CVPR 2016, arXiv:1512.00567, section 7.

This control shows what a teacher's soft labels are worth beyond being soft. A share of the target
is spread evenly over all classes, including the label's own; Tf-KD's code spreads it over the other
classes only (0.9985 of the value with 10 classes). Reduction: cross-entropy summed over classes,
mean over the batch. This term replaces the plain cross-entropy, so `ce` is 0.

Settings: published by the authors, for ImageNet.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, Bound, LogUniform, Method, NonNegative, Output, Paper, Terms
from methods._logits import of_target


def smoothed_loss(student: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Compute cross-entropy with (1 - smoothing) on the label + smoothing / C on every class.

    Args:
        student: Logits [N, classes].
        labels: Class labels [N].
        smoothing: Share of the target that is spread.

    Returns:
        Scalar: mean over the batch.
    """
    return F.cross_entropy(student, labels, label_smoothing=smoothing)


def smoothed_elsewhere_loss(student: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Compute cross-entropy with smoothing / (C - 1) on each class other than the label.

    Args:
        student: Logits [N, classes].
        labels: Class labels [N].
        smoothing: Share of the target that is spread.

    Returns:
        Scalar: mean over the batch.
    """
    logs = F.log_softmax(student, dim=1)
    label = of_target(logs, labels)

    others = (logs.sum(dim=1) - label) / (student.shape[1] - 1)
    return -((1 - smoothing) * label + smoothing * others).mean()


class LabelSmoothing(Method):
    """Train the student alone on softened labels.

    Args:
        smoothing: Share of the target that is spread.
        weight: Weight of the term.
    """

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
        self.smoothing = smoothing
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `label_smoothing`."""
        loss = smoothed_loss(student.logits, batch.labels, self.smoothing)
        return {"label_smoothing": (self.weight, loss)}
