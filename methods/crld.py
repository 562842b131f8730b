"""Cross-view consistency regularisation (CRLD). Zhang et al., ACM MM 2024.

The student learns from the teacher on a weakly and on a strongly augmented view of each image: within a view, and
across, where the prediction for one view follows the teacher's for the other. Samples take part in the comparisons
within views where the teacher is confident on the weak view, and in those across views where it is on the strong one.
Reduction: T^2 * KL summed over classes, mean over all samples of the batch, those left out included.

`logits` are the weak view, `second` the strong one. The weak view's cross-entropy is the engine's, the strong one's is
a term here with the same weight. No published configuration was at hand: weights 1, T 4 and the thresholds 0.7 and 0.5
are plausible, not the authors'.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence
from methods._settings import Bound, LogUniform, NonNegative, Positive, Uniform


def _confident(teacher: Tensor, threshold: float) -> Tensor:
    """1 for samples whose largest probability reaches the threshold, 0 for others.  [N, classes] -> [N]."""
    return (F.softmax(teacher, dim=1).amax(dim=1) >= threshold).to(teacher.dtype)


def within_loss(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    threshold: float = 0.7,
    temperature: float = 4.0,
) -> Tensor:
    """T^2 * KL of each view, where the teacher is confident on the weak one.  Logits [N, classes] each -> scalar."""
    known, other = teacher_weak.detach(), teacher_strong.detach()
    losses = divergence(weak, known, temperature) + divergence(strong, other, temperature)
    return (_confident(known, threshold) * losses).mean() * temperature**2


def cross_loss(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    threshold: float = 0.5,
    temperature: float = 4.0,
) -> Tensor:
    """T^2 * KL of each view to the other, where the teacher is confident on the strong one.  [N, classes] -> scalar."""
    known, other = teacher_weak.detach(), teacher_strong.detach()
    losses = divergence(strong, known, temperature) + divergence(weak, other, temperature)
    return (_confident(other, threshold) * losses).mean() * temperature**2


class CrossViewConsistency(Method):
    """On two views of an image, the student predicts what the teacher predicts for either."""

    paper = Paper(
        "Cross-View Consistency Regularisation for Knowledge Distillation",
        "Zhang et al.",
        "ACM MM",
        2024,
        "github.com/arcaninez/crld",
    )
    formula = "T^2 KL within each view where p_teacher(weak) is high + across views where p_teacher(strong) is high"
    needs = Needs(logits=True, views=True)

    def __init__(
        self,
        within: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        cross: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        threshold_weak: Annotated[float, Bound(0, 1), Uniform(0.0, 0.95)] = 0.7,
        threshold_strong: Annotated[float, Bound(0, 1), Uniform(0.0, 0.95)] = 0.5,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.within, self.cross, self.temperature, self.ce = within, cross, temperature, ce
        self.threshold_weak, self.threshold_strong = threshold_weak, threshold_strong

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Three terms: `within`, `cross` and `ce_strong`."""
        assert student.second is not None
        assert teacher.second is not None
        views = (student.logits, student.second, teacher.logits, teacher.second)
        return {
            "within": (self.within, within_loss(*views, self.threshold_weak, self.temperature)),
            "cross": (self.cross, cross_loss(*views, self.threshold_strong, self.temperature)),
            "ce_strong": (self.ce, F.cross_entropy(student.second, batch.labels)),
        }
