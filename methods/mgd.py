"""Masked generative distillation. Yang et al., ECCV 2022, arXiv:2205.01529, eq. 2 to 4.

Reduction: squared error summed over channels and positions, mean over the batch, as in the authors' code; so weights
are small and depend on the size of the map. Default 7e-5 is published for ImageNet (7x7 maps); 1.2e-3 is given for
CIFAR-100. Of the last map. A share of 0.15 of the channels of each sample, drawn anew each time, is masked, as in the
authors' classification code; their detection code masks positions: `mask: position`.

The alignment, a 1x1 convolution, is left out where channels agree, as there. The larger of two maps is average-pooled
to the smaller; the authors' need equal sizes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative, Uniform


def masked(
    features: Tensor, share: float, over: Literal["channel", "position"] = "channel"
) -> Tensor:
    """The map without a random share of its channels or positions, drawn for each sample.  [N, C, H, W] -> the same."""
    count, channels, *size = features.shape
    shape = (count, channels, 1, 1) if over == "channel" else (count, 1, *size)
    return features * (torch.rand(shape, device=features.device) >= share)


def generation_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """Squared error, summed over channels and positions, mean over the batch.

    generated: from the student's masked map, teacher: both [N, C, H, W] -> scalar. No gradient reaches the teacher.
    """
    return (generated - teacher.detach()).pow(2).sum() / len(teacher)


class MaskedGenerativeDistillation(Method):
    """From its own map with parts masked the student generates the teacher's whole map."""

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
        self.alpha, self.share, self.mask, self.ce = alpha, share, mask, ce
        self.align: nn.Module = nn.Identity()
        self.generator: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Makes the alignment, where channels differ, and the generator."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        if source != target:
            self.align = nn.Conv2d(source, target, 1)
        convs = (nn.Conv2d(target, target, 3, padding=1) for _ in range(2))
        self.generator = nn.Sequential(next(convs), nn.ReLU(), next(convs))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `mgd`."""
        source, target = pooled_alike(student.maps[-1], teacher.maps[-1])
        generated = self.generator(masked(self.align(source), self.share, self.mask))
        return {"mgd": (self.alpha, generation_loss(generated, target))}
