"""Neuron selectivity transfer. Huang & Wang, arXiv 2017, arXiv:1707.01219, section 4 (polynomial kernel).

Reduction: each of the three kernel terms is a mean over samples and pairs of channels; stages are summed, as in
RepDistiller, whose weight this is. The squared discrepancy does not depend on the numbers of channels, nor on the size
of the batch. The larger of two maps is average-pooled to the smaller. Knowledge-Distillation-Zoo compares the last
stage only, with weight 10.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._adapters import pooled_alike, single_position
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import LogUniform, NonNegative


def selectivity_loss(
    student: Tensor, teacher: Tensor, degree: int = 2, offset: float = 0.0
) -> Tensor:
    """Squared maximum mean discrepancy between the channels of two maps, as patterns of unit length.

    The kernel is (a.b + offset)^degree.

    student: [N, C, H, W], teacher: [N, C', H', W'] -> scalar. No gradient reaches the teacher.
    """
    student, teacher = (
        F.normalize(one.flatten(2), dim=2) for one in pooled_alike(student, teacher.detach())
    )

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (torch.bmm(one, other.transpose(1, 2)) + offset).pow(degree).mean()

    return kernel(teacher, teacher) + kernel(student, student) - 2 * kernel(student, teacher)


class NeuronSelectivityTransfer(Method):
    """The student's channels, as a set of patterns over positions, are distributed as the teacher's."""

    paper = Paper(
        "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        "Huang & Wang",
        "arXiv",
        2017,
        "arXiv:1707.01219",
    )
    formula = "sum over stages of mean k(t,t) + mean k(s,s) - 2 mean k(s,t), k(a,b) = (a.b)^2 of unit channels"
    needs = Needs(maps=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(5.0, 500.0)] = 50.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.ce = weight, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs one stage at least whose maps have more than one position in both networks."""
        return super().supports(probe) or single_position(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `nst`: the sum over stages."""
        stages = zip(student.maps, teacher.maps, strict=True)
        return {
            "nst": (self.weight, torch.stack([selectivity_loss(s, t) for s, t in stages]).sum())
        }
