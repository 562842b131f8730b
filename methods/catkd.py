"""Class attention transfer (CAT-KD). Guo et al., CVPR 2023, arXiv:2304.12777, section 3.

A class's activation map is the classifier's weights for it, without bias, applied at each position of the last map.
Maps of student and teacher are average-pooled to 2x2 and, each of them, scaled to unit length. Reduction: mean of the
squared difference over all elements.

Published weights differ per pair. The default, 400 on scaled maps, is the authors' configuration without a pair's own
changes, since the size of maps that are not scaled belongs to a pair (ResNet32x4 and ResNet8x4: weight 15, not scaled).
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms, lacking
from methods._settings import Bound, LogUniform, NonNegative


def activation_maps(pooled: Tensor, weight: Tensor) -> Tensor:
    """The classifier at each position.  [N, D, H, W], [classes, D] -> [N, classes, H, W]."""
    return torch.einsum("cd,ndhw->nchw", weight, pooled)


def catkd_loss(
    student: Tensor, teacher: Tensor, resolution: int = 2, scaled: bool = True
) -> Tensor:
    """Mean squared difference of activation maps at a resolution, each scaled to unit length over its positions.

    student, teacher: [N, classes, H, W], of any sizes -> scalar. No gradient reaches the teacher.
    """
    student, teacher = (
        F.adaptive_avg_pool2d(one, resolution).flatten(2) for one in (student, teacher.detach())
    )
    if scaled:
        student, teacher = F.normalize(student, dim=2), F.normalize(teacher, dim=2)
    return F.mse_loss(student, teacher)


def binarised(maps: Tensor) -> Tensor:
    """1 where a map is above the mean of its absolute values, otherwise 0.  [N, classes, H, W] -> the same."""
    maps = maps.detach()
    return (maps > maps.abs().mean(dim=(2, 3), keepdim=True)).to(maps.dtype)


def of_likely_classes(
    student: Tensor, teacher: Tensor, logits: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Both networks' maps of the classes whose logit is above the teacher's `count`-th largest.

    The comparison is strict, as in the authors' code, so count - 1 classes are kept.
    student, teacher: [N, classes, H, W]; logits: the teacher's [N, classes] -> [N, count - 1, H, W] each.
    """
    chosen = logits.detach().topk(count - 1, dim=1).indices[:, :, None, None]
    pair = (
        one.gather(1, chosen.expand(-1, -1, *one.shape[2:])) for one in (student, teacher.detach())
    )
    return tuple(pair)  # type: ignore[return-value]


class ClassAttentionTransfer(Method):
    """For each class, the student sees it where the teacher sees it."""

    paper = Paper(
        "Class Attention Transfer Based Knowledge Distillation",
        "Guo et al.",
        "CVPR",
        2023,
        "arXiv:2304.12777",
    )
    formula = "mean (CAM_student - CAM_teacher)^2, CAM = classifier weights at each position, pooled, unit length"
    needs = Needs(pooled=True, classifier=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(4e1, 4e3)] = 400.0,
        resolution: Annotated[int, Bound(low=1)] = 2,
        scaled: bool = True,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.resolution, self.scaled, self.ce = weight, resolution, scaled, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs of both networks a map of more than one position, and a classifier on its average."""
        for side, shapes in (("student", probe.student), ("teacher", probe.teacher)):
            for what in ("pooled", "classifier"):
                if not getattr(shapes, what):
                    return lacking(probe, side, what)
            if shapes.pooled[1] * shapes.pooled[2] == 1:
                return f"pooled of the {side}: it has a single position, so there is no attention to transfer"
        return super().supports(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `catkd`."""
        maps = []
        for network in (student, teacher):
            assert network.pooled is not None
            assert network.classifier is not None
            maps.append(activation_maps(network.pooled, network.classifier.weight))
        return {"catkd": (self.weight, catkd_loss(maps[0], maps[1], self.resolution, self.scaled))}
