"""Class attention transfer (CAT-KD). Guo et al., CVPR 2023, arXiv:2304.12777, section 3.

The activation map of a class results from applying the classifier's weights for that class, without
bias, at each position of the last map. The maps of student and teacher are average-pooled to 2x2
and each scaled to unit length. Reduction: squared difference, mean over all elements.

Published weights differ per pair. The default, 400 on scaled maps, is the authors' configuration
without pair-specific changes, since the size of unscaled maps depends on the pair (ResNet32x4 and
ResNet8x4: weight 15, not scaled).

Settings: published by the authors (the code's own defaults), for CIFAR-100, without changes for a
pair.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

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
    Side,
    Terms,
)
from methods._adapters import pooled_to
from methods._contract import missing


def activation_maps(pooled: Tensor, weight: Tensor) -> Tensor:
    """Apply the classifier at each position: [N, D, H, W], [classes, D] -> [N, classes, H, W]."""
    return torch.einsum("cd,ndhw->nchw", weight, pooled)


def catkd_loss(
    student: Tensor, teacher: Tensor, resolution: int = 2, scaled: bool = True
) -> Tensor:
    """Compare class activation maps at a low resolution.

    Args:
        student: Class activation maps [N, classes, H, W].
        teacher: Class activation maps [N, classes, H', W']; no gradient reaches them.
        resolution: Height and width to which both are pooled.
        scaled: Whether each map is scaled to unit length over its positions.

    Returns:
        Scalar: squared difference, mean over all elements.
    """
    size = (resolution, resolution)
    student = pooled_to(student, size).flatten(2)
    teacher = pooled_to(teacher.detach(), size).flatten(2)

    if scaled:
        student = F.normalize(student, dim=2)
        teacher = F.normalize(teacher, dim=2)
    return F.mse_loss(student, teacher)


def binarised(maps: Tensor) -> Tensor:
    """Threshold each map [N, classes, H, W] at the mean of its absolute values: 1 above, else 0."""
    maps = maps.detach()
    return (maps > maps.abs().mean(dim=(2, 3), keepdim=True)).to(maps.dtype)


def of_likely_classes(
    student: Tensor, teacher: Tensor, logits: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Pick the maps of the classes whose logit is above the teacher's `count`-th largest.

    The comparison is strict, as in the authors' code, so count - 1 classes are kept.

    Args:
        student: Class activation maps [N, classes, H, W].
        teacher: Class activation maps [N, classes, H', W']; no gradient reaches them.
        logits: The teacher's logits [N, classes].
        count: Number of classes to keep, plus 1.

    Returns:
        The maps of both networks, with count - 1 channels each.
    """
    likely = logits.detach().topk(count - 1, dim=1).indices[:, :, None, None]

    def pick(maps: Tensor) -> Tensor:
        return maps.gather(1, likely.expand(-1, -1, *maps.shape[2:]))

    return pick(student), pick(teacher.detach())


class ClassAttentionTransfer(Method):
    """Match the student's class activation maps to the teacher's.

    Args:
        weight: Weight of the term.
        resolution: Height and width to which class activation maps are pooled.
        scaled: Whether each map is scaled to unit length.
    """

    paper = Paper(
        "Class Attention Transfer Based Knowledge Distillation",
        "Guo et al.",
        "CVPR",
        2023,
        "arXiv:2304.12777",
    )
    formula = (
        "mean (CAM_student - CAM_teacher)^2, "
        "CAM = classifier weights at each position, pooled, unit length"
    )
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
        self.weight = weight
        self.resolution = resolution
        self.scaled = scaled
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require a map of several positions in both networks, with a classifier on its average."""
        return _obstacle(probe, "student") or _obstacle(probe, "teacher") or super().supports(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `catkd`."""
        own, others = _activation_maps_of(student), _activation_maps_of(teacher)
        return {"catkd": (self.weight, catkd_loss(own, others, self.resolution, self.scaled))}


def _obstacle(probe: Probe, side: Side) -> str | None:
    """Return why the method cannot run on one of the networks."""
    if reason := missing(probe, side, ["pooled", "classifier"]):
        return reason

    pooled = getattr(probe, side).pooled
    if pooled[1] * pooled[2] == 1:
        return (
            f"pooled map of the {side}: it has a single position, "
            "so there is no attention to transfer"
        )
    return None


def _activation_maps_of(network: Output) -> Tensor:
    assert network.pooled is not None
    assert network.classifier is not None
    return activation_maps(network.pooled, network.classifier.weight)
