"""Neuron selectivity transfer. Huang & Wang, arXiv 2017, arXiv:1707.01219, section 4.

The kernel is polynomial. Reduction: each of the three kernel terms is a mean over samples and pairs
of channels; stages are summed, as in RepDistiller, the source of the weight. The squared
discrepancy does not depend on the numbers of channels, nor on the size of the batch. The larger of
two maps is average-pooled to the smaller. Knowledge-Distillation-Zoo compares the last stage only,
with weight 10.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms
from methods._adapters import pooled_alike, single_position


def selectivity_loss(
    student: Tensor, teacher: Tensor, degree: int = 2, offset: float = 0.0
) -> Tensor:
    """Compute the squared maximum mean discrepancy between the channels of two maps.

    Channels are patterns over positions at unit length; the kernel is (a.b + offset)^degree.

    Args:
        student: Map [N, C, H, W].
        teacher: Map [N, C', H', W']; no gradient reaches it.
        degree: Degree of the kernel.
        offset: Offset of the kernel.

    Returns:
        Scalar: mean over samples and pairs of channels.
    """
    student, teacher = pooled_alike(student, teacher.detach())
    student = F.normalize(student.flatten(2), dim=2)
    teacher = F.normalize(teacher.flatten(2), dim=2)

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (torch.bmm(first, second.transpose(1, 2)) + offset).pow(degree).mean()

    return kernel(teacher, teacher) + kernel(student, student) - 2 * kernel(student, teacher)


class NeuronSelectivityTransfer(Method):
    """Match the distribution of channels, as patterns over positions, to the teacher's.

    Args:
        weight: Weight of the term.
    """

    paper = Paper(
        "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        "Huang & Wang",
        "arXiv",
        2017,
        "arXiv:1707.01219",
    )
    formula = (
        "sum over stages of mean k(t,t) + mean k(s,s) - 2 mean k(s,t), "
        "k(a,b) = (a.b)^2 of unit channels"
    )
    needs = Needs(maps=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(5.0, 500.0)] = 50.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require a stage whose maps have more than one position in both networks."""
        return super().supports(probe) or single_position(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `nst`: the sum over stages."""
        stages = zip(student.maps, teacher.maps, strict=True)
        losses = [selectivity_loss(own, other) for own, other in stages]

        return {"nst": (self.weight, torch.stack(losses).sum())}
