"""Attentive feature distillation. Wang, Gao, Zhao, Zhang & Xu, ICLR 2020, openreview ryxyCeHtPB.

The formula is from Knowledge-Distillation-Zoo, not from the authors (section 3), who published
theirs for transfer learning: each channel's map is divided by its length (+ 1e-6), and the squared
difference is averaged over positions and weighted by the channel's share of attention. Attention
comes from the teacher's pooled channels through two layers and a sigmoid; the shares of the
channels sum to 1 in each sample. Reduction: sum over channels, mean over the batch, mean over
stages. Weight 500 and a hidden width of 1 (times the channels) are from that repository. Another
method with the same initials (Ji et al., AAAI 2021) matches features by attention; this is not it.

In that repository channels must agree; here a 1x1 convolution maps the student's channels to the
teacher's where they differ. The larger of two maps is average-pooled to the smaller.

Settings: public code of others (Knowledge-Distillation-Zoo), not the authors'.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Probe,
    Terms,
)
from methods._adapters import pooled_alike, single_position


def attentive_loss(
    student: Tensor, teacher: Tensor, attention: Tensor, eps: float = 1e-6
) -> Tensor:
    """Compare channels at unit length, weighted by attention.

    Args:
        student: Map [N, C, H, W].
        teacher: Map [N, C, H, W]; no gradient reaches it, but one reaches the attention scores.
        attention: Scores [N, C] before the sigmoid.
        eps: Constant added to the length of a channel.

    Returns:
        Scalar: squared difference, mean over positions, weighted over channels, mean over the
        batch.
    """
    shares = F.logsigmoid(attention).softmax(dim=1)  # each sigmoid / sum of all sigmoids
    difference = (_unit(student, eps) - _unit(teacher.detach(), eps)).pow(2).mean(dim=(2, 3))
    return (shares * difference).sum(dim=1).mean()


class AttentiveFeatureDistillation(Method):
    """Let the student's channels imitate the teacher's, especially those with high attention.

    Args:
        weight: Weight of the term.
        width: Hidden width of the attention, as a multiple of the teacher's channels.
    """

    paper = Paper(
        "Pay Attention to Features, Transfer Learn Faster CNNs",
        "Wang et al.",
        "ICLR",
        2020,
        "https://openreview.net/forum?id=ryxyCeHtPB",
    )
    formula = (
        "mean over stages of sum_c a_c mean_hw (s_c/|s_c| - t_c/|t_c|)^2, "
        "a = attention of the teacher's channels"
    )
    needs = Needs(maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(50.0, 5000.0)] = 500.0,
        width: Annotated[float, Positive, LogUniform(0.25, 4.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.width = width
        self.ce = ce

        self.attention = nn.ModuleList()
        self.align = nn.ModuleList()

    def supports(self, probe: Probe) -> str | None:
        """Require a stage whose maps have more than one position in both networks."""
        return super().supports(probe) or single_position(probe)

    def build(self, probe: Probe) -> None:
        """Make the attention of each stage, and a convolution where channels differ."""
        self.attention = nn.ModuleList()
        self.align = nn.ModuleList()

        for (source, *_), (target, *_) in zip(probe.student.maps, probe.teacher.maps, strict=True):
            self.attention.append(_attention(target, max(int(target * self.width), 1)))
            self.align.append(nn.Identity() if source == target else nn.Conv2d(source, target, 1))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `afd`: the mean over stages."""
        losses = []
        stages = zip(self.attention, self.align, student.maps, teacher.maps, strict=True)
        for attention, align, own, other in stages:
            scores = attention(other.detach().mean(dim=(2, 3)))
            source, target = pooled_alike(own, other)
            losses.append(attentive_loss(align(source), target, scores))

        return {"afd": (self.weight, torch.stack(losses).mean())}


def _unit(features: Tensor, eps: float) -> Tensor:
    return features.div(torch.linalg.vector_norm(features, dim=(2, 3), keepdim=True) + eps)


def _attention(channels: int, hidden: int) -> nn.Sequential:
    first = nn.Linear(channels, hidden)
    second = nn.Linear(hidden, channels)

    for layer in (first, second):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), second)
