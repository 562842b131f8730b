"""Attention transfer. Zagoruyko & Komodakis, ICLR 2017, arXiv:1612.03928, eq. 2 (activation-based).

Reduction: mean over samples and positions of the squared difference, summed over stages, as in the authors' code. The
paper writes a sum of unsquared norms, which is over a hundred times larger, so `beta` is the code's. Where the maps of
a stage differ in size the larger one is average-pooled to the smaller. All stages count, the pooled embedding does not.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative


def attention_map(features: Tensor, p: int = 2) -> Tensor:
    """Where a map is active: mean over channels of |f|^p, scaled to unit length.  [N, C, H, W] -> [N, H*W]."""
    return F.normalize(features.abs().pow(p).mean(dim=1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor, p: int = 2) -> Tensor:
    """Squared difference of two attention maps, mean over samples and positions.

    student: [N, C, H, W], teacher: [N, C', H', W'] -> scalar. No gradient reaches the teacher.
    """
    student, teacher = pooled_alike(student, teacher.detach())
    return (attention_map(student, p) - attention_map(teacher, p)).pow(2).mean()


class AttentionTransfer(Method):
    """The student looks where the teacher looks, at every stage."""

    paper = Paper(
        "Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via Attention "
        "Transfer",
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
        self.beta, self.p, self.ce = beta, p, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs one stage at least whose maps have more than one position in both networks."""
        reason = super().supports(probe)
        stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
        if reason is None and all(min(s[1] * s[2], t[1] * t[2]) == 1 for s, t in stages):
            reason = "all maps have a single position, so there is no attention to transfer"
        return reason

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `at`: the sum over stages."""
        stages = zip(student.maps, teacher.maps, strict=True)
        return {
            "at": (self.beta, torch.stack([attention_loss(s, t, self.p) for s, t in stages]).sum())
        }
