"""Inter-channel correlation. Liu et al., ICCV 2021, arXiv:2202.03680, section 3 (ICKD-C).

`channel_loss` is reduced as in torchdistill: squared differences of the channels' Gram matrices,
with rows at unit length, summed and divided by channels * batch^2. It therefore halves when every
sample of the batch is duplicated, and a weight is meaningful only for a given batch size:
torchdistill's 500 for ImageNet belongs to batches of 256, which corresponds to about 2 for a mean
over the batch. The authors' CIFAR weight 2.5 is close to that, so it is taken as the weight of the
mean over samples: the term's weight is 2.5 * the batch size, and the loss does not depend on the
batch. (If 2.5 applied to the sum over batch^2 directly, the term would be about fifty times weaker
than on ImageNet.)

The last map is compared; a 3x3 convolution with BatchNorm maps the student's channels to the
teacher's. Sizes may differ. The published settings add KD, which is `kd+ickd` here.
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
        weight: Weight of the term, for a mean over samples.
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
        self.scale = 1.0

    def build(self, probe: Probe) -> None:
        """Make the embedding, and scale the weight by the batch size."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        conv = nn.Conv2d(source, target, 3, padding=1, bias=False)
        self.embedding = nn.Sequential(conv, nn.BatchNorm2d(target))
        self.scale = float(probe.batch_size)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ickd`."""
        loss = channel_loss(self.embedding(student.maps[-1]), teacher.maps[-1])
        return {"ickd": (self.weight * self.scale, loss)}
