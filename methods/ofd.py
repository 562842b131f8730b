"""Overhaul of feature distillation. Heo et al., ICCV 2019, arXiv:1904.01866, section 3.

Reduction: partial squared distance summed over channels and positions, mean over the batch; stages
are summed with weights 1/2^(n-i-1), so the deepest has weight 1. The published weights, 1e-3 for
CIFAR and 1e-4 for ImageNet, belong to that sum (one implementation takes the mean over all
elements, with weight 0.5). Features are taken before the activation. The larger of two maps is
average-pooled. The connector is a 1x1 convolution without bias, then BatchNorm.

There are two differences from the authors' code. The margin, the mean of a channel's negative
values, is derived there from the teacher's BatchNorm (`margin_of`), assuming normally distributed
values; not every network has BatchNorm, so here it is the mean of all negative values that the
teacher has output so far. And the teacher stays in evaluation mode here, whereas the authors
deliberately leave its BatchNorm in training mode.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms
from methods._adapters import pooled_alike


def ofd_loss(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Compare the student with max(teacher, margin) where this target is exceeded or positive.

    Args:
        student: The connected map, [N, C, H, W].
        teacher: Map before its activation, [N, C, H, W]; no gradient reaches it.
        margin: Mean of each channel's negative values, [C].

    Returns:
        Scalar: squared distance, summed over channels and positions, mean over the batch.
    """
    target = torch.maximum(teacher.detach(), margin.detach().view(1, -1, 1, 1))
    counts = (student > target) | (target > 0)
    return ((student - target).pow(2) * counts).sum() / len(student)


def margin_of(weight: Tensor, bias: Tensor) -> Tensor:
    """Estimate the mean of the negative part of a BatchNorm's output.

    The output is assumed to be normally distributed: E[x | x < 0] with
    x ~ N(bias, weight^2), or -3 |weight| where less than a thousandth of the distribution is
    negative.

    Args:
        weight: Scale of each channel, [C].
        bias: Shift of each channel, [C].

    Returns:
        Means [C].
    """
    deviation = weight.detach().abs().clamp_min(torch.finfo(weight.dtype).tiny)
    mean = bias.detach()
    ratio = mean / deviation

    below = torch.special.ndtr(-ratio)
    height = torch.exp(-ratio.pow(2) / 2) / math.sqrt(2 * math.pi)
    return torch.where(below > 1e-3, mean - deviation * height / below, -3 * deviation)


class FeatureOverhaul(Method):
    """Match the teacher where its activations are positive, and stay low where they are not.

    Args:
        weight: Weight of the term.
    """

    paper = Paper(
        "A Comprehensive Overhaul of Feature Distillation",
        "Heo et al.",
        "ICCV",
        2019,
        "arXiv:1904.01866",
    )
    formula = (
        "sum over stages of 2^(i+1-n) |connector(s) - max(t, m)|^2 "
        "where connector(s) > max(t, m) or t > 0"
    )
    needs = Needs(preactivations=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(1e-4, 1e-2)] = 1e-3,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

        self.connectors = nn.ModuleList()
        self.margins = nn.ModuleList()

    def build(self, probe: Probe) -> None:
        """Make a connector and a running margin for each stage."""
        stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
        self.connectors = nn.ModuleList(_connector(own[0], other[0]) for own, other in stages)
        self.margins = nn.ModuleList(_NegativeMean(shape[0]) for shape in probe.teacher.maps)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ofd`: the weighted sum over stages."""
        losses = []
        stages = zip(
            student.preactivations,
            teacher.preactivations,
            self.connectors,
            self.margins,
            strict=True,
        )
        for own, other, connector, margin in stages:
            connected, target = pooled_alike(connector(own), other)
            losses.append(ofd_loss(connected, target, margin(other)))

        weighted = [loss / 2**depth for depth, loss in enumerate(reversed(losses))]
        return {"ofd": (self.weight, torch.stack(weighted).sum())}


class _NegativeMean(nn.Module):
    """Running mean of each channel's negative values; 0 where there were none."""

    total: Tensor
    count: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("total", torch.zeros(channels))
        self.register_buffer("count", torch.zeros(channels))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        self.total += features.clamp_max(0).sum(dim=(0, 2, 3))
        self.count += (features < 0).sum(dim=(0, 2, 3))
        return self.total / self.count.clamp_min(1)


def _connector(source: int, target: int) -> nn.Sequential:
    conv = nn.Conv2d(source, target, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(target))
