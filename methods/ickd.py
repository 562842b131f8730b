"""Inter-channel correlation. Liu et al., ICCV 2021, arXiv:2202.03680, section 3 (ICKD-C).

`channel_loss` is reduced as in torchdistill: squared differences of the channels' Gram matrices, rows at unit length,
summed, over channels * batch^2. So it halves when the batch is doubled by copies, and a weight only means something
beside a batch size: torchdistill's 500 for ImageNet comes with batches of 256, about 2 for a mean over the batch. The
authors' CIFAR weight 2.5 is of that size, so it is read here as the weight of the mean over samples: the term's weight
is 2.5 * the batch size, and the loss does not depend on the batch. (With 2.5 for the sum over batch^2 as it stands,
the term would be some fifty times weaker than on ImageNet.)

Of the last map; a 3x3 convolution with BatchNorm brings the student's to the teacher's channels. Sizes may differ. The
published settings add KD, which is `kd+ickd` here.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import LogUniform, NonNegative


def channel_correlation(features: Tensor) -> Tensor:
    """Inner products of all pairs of channels, rows scaled to unit length.  [N, C, H, W] -> [N, C, C]."""
    flat = features.flatten(2)
    return F.normalize(torch.bmm(flat, flat.transpose(1, 2)), dim=2)


def channel_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of two channel correlations, summed, over channels * batch^2.

    student: [N, C, H, W], teacher: [N, C, H', W'] -> scalar. No gradient reaches the teacher.
    """
    count, channels = student.shape[:2]
    difference = channel_correlation(student) - channel_correlation(teacher.detach())
    return difference.pow(2).sum() / (channels * count**2)


class InterChannelCorrelation(Method):
    """Channels of the student's last map are as alike as the teacher's."""

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
        self.weight, self.ce = weight, ce
        self.embedding: nn.Module = nn.Identity()
        self.scale = 1.0

    def build(self, probe: Probe) -> None:
        """Makes the embedding, and takes the batch size, which the weight depends on."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        self.embedding = nn.Sequential(
            nn.Conv2d(source, target, 3, padding=1, bias=False), nn.BatchNorm2d(target)
        )
        self.scale = float(probe.batch_size)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `ickd`."""
        return {
            "ickd": (
                self.weight * self.scale,
                channel_loss(self.embedding(student.maps[-1]), teacher.maps[-1]),
            )
        }
