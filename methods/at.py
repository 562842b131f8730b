"""Attention transfer. Zagoruyko & Komodakis, ICLR 2017, arXiv:1612.03928, eq. 2 (activation-based).

Reduction: squared difference, mean over samples and positions, summed over stages, as in the
authors' code. The paper uses a sum of unsquared norms, which is over a hundred times larger, so
`beta` is taken from the code. Where the maps of a stage differ in size, the larger one is
average-pooled to the smaller. All stages are used; the pooled embedding is not.

Settings: public code of others (RepDistiller and mdistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
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
    Probe,
    Terms,
)
from methods._adapters import pooled_alike, single_position


def attention_map(features: Tensor, p: int = 2) -> Tensor:
    """Compute the attention map: the mean over channels of |f|^p, scaled to unit length.

    Args:
        features: Map [N, C, H, W].
        p: Exponent.

    Returns:
        Attention map [N, H * W]; zeros for a map of zeros.
    """
    return F.normalize(features.abs().pow(p).mean(dim=1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor, p: int = 2) -> Tensor:
    """Compare the attention maps of one stage (eq. 2).

    Args:
        student: Map [N, C, H, W].
        teacher: Map [N, C', H', W']; no gradient reaches it.
        p: Exponent of the activations.

    Returns:
        Scalar: squared difference, mean over samples and positions.
    """
    student, teacher = pooled_alike(student, teacher.detach())
    return (attention_map(student, p) - attention_map(teacher, p)).pow(2).mean()


class AttentionTransfer(Method):
    """Match the student's attention maps to the teacher's at every stage.

    Args:
        beta: Weight of the term.
        p: Exponent of the activations.
    """

    paper = Paper(
        "Paying More Attention to Attention: Improving the Performance of Convolutional Neural "
        "Networks via Attention Transfer",
        "Zagoruyko & Komodakis",
        "ICLR",
        2017,
        "arXiv:1612.03928",
    )
    formula = (
        "sum over stages of mean (A_student - A_teacher)^2, A = mean_c |f|^p scaled to unit length"
    )
    needs = Needs(maps=True)
    minimum = 0.0

    def __init__(
        self,
        beta: Annotated[float, NonNegative, LogUniform(1e2, 1e4)] = 1000.0,
        p: Annotated[int, Bound(low=1)] = 2,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.beta = beta
        self.p = p
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require a stage whose maps have more than one position in both networks."""
        return super().supports(probe) or single_position(probe, pattern="attention")

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `at`: the sum over stages."""
        stages = zip(student.maps, teacher.maps, strict=True)
        losses = [attention_loss(own, other, self.p) for own, other in stages]

        return {"at": (self.beta, torch.stack(losses).sum())}
