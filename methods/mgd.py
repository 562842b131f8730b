"""Masked generative distillation. Yang et al., ECCV 2022, arXiv:2205.01529, eq. 2 to 4.

Reduction: squared error summed over channels and positions, mean over the batch, as in the authors'
code, so weights are small and depend on the size of the map. The default 7e-5 is published for
ImageNet (7x7 maps); 1.2e-3 is given for CIFAR-100. The last map is compared. A share of 0.15 of the
channels of each sample, drawn anew each time, is masked, as in the authors' classification code;
their detection code masks positions: `mask: position`.

The alignment, a 1x1 convolution, is omitted where channels agree, as in that code. The larger of
two maps is average-pooled to the smaller; the authors' code requires equal sizes.

Settings: published by the authors, for ImageNet.
"""

from __future__ import annotations

from typing import Annotated, Literal

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
    Uniform,
)
from methods._adapters import pooled_alike


def masked(
    features: Tensor, share: float, over: Literal["channel", "position"] = "channel"
) -> Tensor:
    """Set a random share of a map's channels or positions to zero.

    Args:
        features: Map [N, C, H, W].
        share: Probability that a channel or position is masked, drawn for each sample.
        over: Whether whole channels or whole positions are masked.

    Returns:
        The masked map, [N, C, H, W].
    """
    count, channels, *size = features.shape
    shape = (count, channels, 1, 1) if over == "channel" else (count, 1, *size)
    return features * (torch.rand(shape, device=features.device) >= share)


def generation_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """Compare a generated map with the teacher's (eq. 4).

    Args:
        generated: Map generated from the student's masked map, [N, C, H, W].
        teacher: Map [N, C, H, W]; no gradient reaches it.

    Returns:
        Scalar: squared error, summed over channels and positions, mean over the batch.
    """
    return (generated - teacher.detach()).pow(2).sum() / len(teacher)


class MaskedGenerativeDistillation(Method):
    """Let the student generate the teacher's whole map from its own masked map.

    Args:
        alpha: Weight of the term.
        share: Share of the map that is masked.
        mask: Whether whole channels or whole positions are masked.
    """

    paper = Paper("Masked Generative Distillation", "Yang et al.", "ECCV", 2022, "arXiv:2205.01529")
    formula = "sum (generator(mask * align(f_student)) - f_teacher)^2 / N"
    needs = Needs(maps=True)

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(7e-6, 7e-3)] = 7e-5,
        share: Annotated[float, Bound(0, 1), Uniform(0.0, 0.75)] = 0.15,
        mask: Literal["channel", "position"] = "channel",
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.share = share
        self.mask = mask
        self.ce = ce

        self.align: nn.Module = nn.Identity()
        self.generator: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make the alignment, where channels differ, and the generator."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        if source != target:
            self.align = nn.Conv2d(source, target, 1)

        self.generator = nn.Sequential(
            nn.Conv2d(target, target, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(target, target, 3, padding=1),
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `mgd`."""
        source, target = pooled_alike(student.maps[-1], teacher.maps[-1])
        generated = self.generator(masked(self.align(source), self.share, self.mask))
        return {"mgd": (self.alpha, generation_loss(generated, target))}
