"""Inter-channel correlation. Liu et al., ICCV 2021, arXiv:2202.03680, section 3 (ICKD-C).

Reduction: squared differences of the channels' Gram matrices, with rows at unit length, summed and
divided by channels * samples, as in the authors' code for CIFAR-100, so the loss does not depend on
the batch size. torchdistill divides by the number of samples once more (`channel_loss`); its weight
for ImageNet, 500 with batches of 256, corresponds to about 2 here.

The last map is compared. A 1x1 convolution without bias and BatchNorm map the student's channels to
the teacher's, as in the authors' code for CIFAR-100; torchdistill has a 3x3 convolution. Sizes may
differ.

Settings: published by the authors, for CIFAR-100. They are weight 2.5 and CE 1, without KD; a
second row of their table has KD of weight 1 at T 4: `kd+ickd` with weight 1 for KD.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms


def channel_correlation(features: Tensor) -> Tensor:
    """Compute inner products of all pairs of channels, with rows scaled to unit length.

    Args:
        features: Map [N, C, H, W].

    Returns:
        Correlations [N, C, C].
    """
    flat = features.flatten(2)
    return F.normalize(torch.bmm(flat, flat.transpose(1, 2)), dim=2)


def channel_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare two channel correlations.

    Args:
        student: Map [N, C, H, W].
        teacher: Map [N, C, H', W']; no gradient reaches it.

    Returns:
        Scalar: sum of squared differences over channels * batch^2.
    """
    count, channels = student.shape[:2]
    difference = channel_correlation(student) - channel_correlation(teacher.detach())
    return difference.pow(2).sum() / (channels * count**2)


class InterChannelCorrelation(Method):
    """Let the channels of the student's last map resemble each other as the teacher's do.

    Args:
        weight: Weight of the term.
    """

    paper = Paper(
        "Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge Distillation",
        "Liu et al.",
        "ICCV",
        2021,
        "arXiv:2202.03680",
    )
    formula = (
        "sum (G_student - G_teacher)^2 / (C N), G = F F^T over channels with rows of unit length"
    )
    needs = Needs(maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.25, 25.0)] = 2.5,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

        self.embedding: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make the embedding."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        conv = nn.Conv2d(source, target, 1, bias=False)
        self.embedding = nn.Sequential(conv, nn.BatchNorm2d(target))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ickd`."""
        own = self.embedding(student.maps[-1])
        loss = channel_loss(own, teacher.maps[-1]) * len(own)
        return {"ickd": (self.weight, loss)}
