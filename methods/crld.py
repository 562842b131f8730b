"""Cross-view consistency regularisation (CRLD). Zhang et al., ACM MM 2024.

The student learns from the teacher on a weakly and on a strongly augmented view of each image:
within a view, and across views, where the prediction for one view follows the teacher's for the
other. A sample takes part in the comparisons within views if the teacher is confident on the weak
view, and in those across views if the teacher is confident on the strong view. Reduction: T^2 * KL
summed over classes, mean over all samples of the batch, including those that take no part.

`logits` belong to the weak view, `second` to the strong one. The engine adds the weak view's
cross-entropy; the strong view's is a term here, with the same weight.

Settings: public code of others (scx-822/CRLD-main), for CIFAR-100. The authors' own repository was
not available. All pairs share CE 1, within views 2, across views 0.5, T 4 and the thresholds 0.9
and 0.2; the ImageNet configurations have CE 2 and T 1.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Terms,
    Uniform,
)
from methods._logits import divergence


def within_loss(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    threshold: float = 0.9,
    temperature: float = 4.0,
) -> Tensor:
    """Compare predictions within each view, where the teacher is confident on the weak view.

    Args:
        weak: The student's logits for the weak view, [N, classes].
        strong: The student's logits for the strong view, [N, classes].
        teacher_weak: The teacher's logits for the weak view, [N, classes]; no gradient.
        teacher_strong: The teacher's logits for the strong view, [N, classes]; no gradient.
        threshold: Smallest confidence of the teacher.
        temperature: Softmax temperature T.

    Returns:
        Scalar: T^2 * KL, mean over the batch.
    """
    weak_target, strong_target = teacher_weak.detach(), teacher_strong.detach()
    losses = divergence(weak, weak_target, temperature) + divergence(
        strong, strong_target, temperature
    )

    return (_confident(weak_target, threshold) * losses).mean() * temperature**2


def cross_loss(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    threshold: float = 0.2,
    temperature: float = 4.0,
) -> Tensor:
    """Compare predictions across views, where the teacher is confident on the strong view.

    Args:
        weak: The student's logits for the weak view, [N, classes].
        strong: The student's logits for the strong view, [N, classes].
        teacher_weak: The teacher's logits for the weak view, [N, classes]; no gradient.
        teacher_strong: The teacher's logits for the strong view, [N, classes]; no gradient.
        threshold: Smallest confidence of the teacher.
        temperature: Softmax temperature T.

    Returns:
        Scalar: T^2 * KL, mean over the batch.
    """
    weak_target, strong_target = teacher_weak.detach(), teacher_strong.detach()
    losses = divergence(strong, weak_target, temperature) + divergence(
        weak, strong_target, temperature
    )

    return (_confident(strong_target, threshold) * losses).mean() * temperature**2


def _confident(teacher: Tensor, threshold: float) -> Tensor:
    """Mark samples whose largest probability reaches the threshold: [N, classes] -> [N], 1 or 0."""
    return (F.softmax(teacher, dim=1).amax(dim=1) >= threshold).to(teacher.dtype)


class CrossViewConsistency(Method):
    """Let the student predict on each view what the teacher predicts on both views.

    Args:
        within: Weight of the term within views.
        cross: Weight of the term across views.
        threshold_weak: Smallest confidence of the teacher on the weak view.
        threshold_strong: Smallest confidence of the teacher on the strong view.
        temperature: Softmax temperature T.
        ce: Weight of cross-entropy for each of the views.
    """

    paper = Paper(
        "Cross-View Consistency Regularisation for Knowledge Distillation",
        "Zhang et al.",
        "ACM MM",
        2024,
        "github.com/arcaninez/crld",
    )
    formula = (
        "T^2 KL within each view where p_teacher(weak) is high "
        "+ across views where p_teacher(strong) is high"
    )
    needs = Needs(logits=True, views=True)

    def __init__(
        self,
        within: Annotated[float, NonNegative, LogUniform(0.2, 20.0)] = 2.0,
        cross: Annotated[float, NonNegative, LogUniform(0.05, 5.0)] = 0.5,
        threshold_weak: Annotated[float, Bound(0, 1), Uniform(0.0, 0.95)] = 0.9,
        threshold_strong: Annotated[float, Bound(0, 1), Uniform(0.0, 0.95)] = 0.2,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.within = within
        self.cross = cross
        self.threshold_weak = threshold_weak
        self.threshold_strong = threshold_strong
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return three terms: `within`, `cross` and `ce_strong`."""
        assert student.second is not None
        assert teacher.second is not None

        views = (student.logits, student.second, teacher.logits, teacher.second)
        return {
            "within": (self.within, within_loss(*views, self.threshold_weak, self.temperature)),
            "cross": (self.cross, cross_loss(*views, self.threshold_strong, self.temperature)),
            "ce_strong": (self.ce, F.cross_entropy(student.second, batch.labels)),
        }
