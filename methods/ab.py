"""Activation boundaries. Heo, Lee, Yun & Choi, AAAI 2019, arXiv:1811.03233, eq. 4 to 6.

Reduction: sum over channels and positions, mean over the batch, as in the authors' code. Stage i of
n has weight 2^(i-n+1), so the deepest stage has full weight; `weight` is the factor 3/1000 of the
sum. Knowledge-Distillation-Zoo takes the mean over all elements, which is hundreds of times
smaller, and uses a margin of 2.

There are two phases, as published: for 30 epochs before the usual 240, the student learns only the
boundaries; this length is stored as a fraction so that it carries over to other recipes. The
student then learns from cross-entropy alone, so `forward` has no terms. RepDistiller's `-b 1` is
never applied. The connectors are the authors': a 1x1 convolution with BatchNorm at every stage;
RepDistiller omits them where shapes agree. The larger of two maps is average-pooled to the smaller.

Settings: published by the authors (weight and margin). The 30 epochs before the training are
RepDistiller's.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

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
from methods._adapters import pooled_alike


def boundary_loss(student: Tensor, teacher: Tensor, margin: float = 1.0) -> Tensor:
    """Penalise pre-activations on the wrong side of zero, or within the margin (eq. 4).

    Args:
        student: Pre-activations [N, C, H, W].
        teacher: Pre-activations [N, C, H, W]; no gradient reaches them.
        margin: Distance from zero that the student should keep.

    Returns:
        Scalar: squared distances, summed over channels and positions, mean over the batch.
    """
    active = teacher.detach() > 0
    above = (student + margin).pow(2) * ((student > -margin) & ~active)
    below = (student - margin).pow(2) * ((student <= margin) & active)
    return (above + below).sum() / len(student)


class ActivationBoundaries(Method):
    """Before the training, teach the student which neurons are active in the teacher.

    Args:
        weight: Weight of the term before the training.
        margin: Distance from zero that pre-activations should keep.
        pre_training: Length of the stage before the training, as a share of the recipe's epochs.
    """

    paper = Paper(
        "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
        "Heo et al.",
        "AAAI",
        2019,
        "arXiv:1811.03233",
    )
    formula = (
        "before training: sum_i 2^(i-n+1) |relu(s+m) 1[t<=0] + relu(m-s) 1[t>0]|^2 "
        "of pre-activations s, t"
    )
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
        self.weight = weight
        self.margin = margin
        self.pre_training = pre_training
        self.ce = ce

        self.connectors = nn.ModuleList()

    def build(self, probe: Probe) -> None:
        """Make a connector for each stage."""
        stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
        self.connectors = nn.ModuleList(_connector(own[0], other[0]) for own, other in stages)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return no terms: only cross-entropy is left."""
        return {}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ab`: the weighted sum over stages."""
        losses = []
        stages = zip(self.connectors, student.preactivations, teacher.preactivations, strict=True)
        for connector, own, other in stages:
            source, target = pooled_alike(own, other)
            losses.append(boundary_loss(connector(source), target, self.margin))

        weighted = [loss * 0.5**depth for depth, loss in enumerate(reversed(losses))]
        return {"ab": (self.weight, torch.stack(weighted).sum())}


def _connector(source: int, target: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(source, target, 1, bias=False), nn.BatchNorm2d(target))
