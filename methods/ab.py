"""Activation boundaries. Heo, Lee, Yun & Choi, AAAI 2019, arXiv:1811.03233, eq. 4 to 6.

Reduction: sum over channels and positions, mean over the batch, as in the authors' code; the stage i of n counts
2^(i-n+1), the deepest one fully, and the sum 3/1000, which is `weight`. Knowledge-Distillation-Zoo takes the mean over
all elements, hundreds of times smaller, and a margin of 2.

In two stages, as published: the student learns the boundaries alone in 30 epochs before its 240, kept as a share so
that it carries over to recipes of other lengths; then it learns with cross-entropy alone, so `forward` has no terms.
RepDistiller's `-b 1` is never applied. Connectors are the authors', a 1x1 convolution with BatchNorm at every stage;
RepDistiller leaves them out where shapes agree. The larger of two maps is average-pooled to the smaller.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative


def boundary_loss(student: Tensor, teacher: Tensor, margin: float = 1.0) -> Tensor:
    """How far the student's pre-activations are from the teacher's side of zero with a margin, squared.

    student, teacher: [N, C, H, W] -> scalar: sum over channels and positions, mean over the batch. No gradient reaches
    the teacher.
    """
    active = teacher.detach() > 0
    above = (student + margin).pow(2) * ((student > -margin) & ~active)
    below = (student - margin).pow(2) * ((student <= margin) & active)
    return (above + below).sum() / len(student)


class ActivationBoundaries(Method):
    """Before its training the student's neurons learn to be active where the teacher's are."""

    paper = Paper(
        "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
        "Heo et al.",
        "AAAI",
        2019,
        "arXiv:1811.03233",
    )
    formula = "before training: sum_i 2^(i-n+1) |relu(s+m) 1[t<=0] + relu(m-s) 1[t>0]|^2 of pre-activations s, t"
    needs = Needs(preactivations=True)
    taught_early = True

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(3e-4, 3e-2)] = 3e-3,
        margin: Annotated[float, NonNegative, LogUniform(0.25, 4.0)] = 1.0,
        pre_training: Annotated[float, Bound(0, 1)] = 1 / 8,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.margin, self.pre_training, self.ce = weight, margin, pre_training, ce
        self.connectors = nn.ModuleList()

    def build(self, probe: Probe) -> None:
        """Makes a connector for each stage."""
        stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
        self.connectors = nn.ModuleList(
            nn.Sequential(nn.Conv2d(s[0], t[0], 1, bias=False), nn.BatchNorm2d(t[0]))
            for s, t in stages
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """No terms: what is left is cross-entropy."""
        return {}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `ab`: the weighted sum over stages."""
        losses = []
        for connector, one, other in zip(
            self.connectors, student.preactivations, teacher.preactivations, strict=True
        ):
            source, target = pooled_alike(one, other)
            losses.append(boundary_loss(connector(source), target, self.margin))
        total = torch.stack(
            [loss * 0.5**depth for depth, loss in enumerate(reversed(losses))]
        ).sum()
        return {"ab": (self.weight, total)}
