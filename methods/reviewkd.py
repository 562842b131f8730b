"""ReviewKD: distillation through knowledge review. Chen et al., CVPR 2021, arXiv:2104.09044.

Reduction (section 3): hierarchical context loss of each stage, summed over stages. This loss is a
weighted mean of squared errors: of the maps themselves, with weight 1, and of the maps pooled to
4x4, 2x2 and 1x1, with halving weights that start at 1/2. Pooled sizes that are not smaller than the
map's height are skipped. As in the authors' code, stages are processed from deep to shallow, each
fused with the result of the deeper one; the student's maps are taken after the activation and the
teacher's before it; the pooled embedding is the deepest stage, a 1x1 map. All stages that can be
tapped are used.

Published weights differ by pair: 0.6 (resnet56 to 20), 1 (resnet110 to 32), 5 (WRN, resnet32x4 to
8x4 or to ShuffleNetV1), 8 (ShuffleNetV2); on ImageNet 1 (ResNet-18) and 8 (MobileNet). The weight
ramps up over 20 of 240 epochs; this length is stored as a fraction so that it carries over to other
recipes.

Settings: published by the authors, for resnet32x4/resnet8x4 on CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
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
from methods._adapters import pooled_to
from methods._features import embeddings
from methods._logits import warmed_up


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the hierarchical context loss of one stage.

    Args:
        student: The student's fused map, [N, C, H, W].
        teacher: The teacher's map, [N, C, H, W]; no gradient reaches it.

    Returns:
        Scalar, the weighted mean of the errors at all scales.
    """
    teacher = teacher.detach()
    loss = F.mse_loss(student, teacher)
    weight = 1.0
    total = 1.0

    for level in (4, 2, 1):
        if level >= student.shape[2]:
            continue
        weight /= 2
        total += weight
        size = (level, level)
        loss = loss + weight * F.mse_loss(pooled_to(student, size), pooled_to(teacher, size))

    return loss / total


class Fusion(nn.Module):
    """Fuse a stage with the result of the deeper one, using attention over the two.

    Args:
        source: Channels of the student's map.
        width: Number of hidden channels.
        target: Channels of the teacher's map.
        fuse: Whether there is a deeper stage to fuse; False for the deepest stage.
    """

    def __init__(self, source: int, width: int, target: int, fuse: bool):
        super().__init__()
        inner = nn.Conv2d(source, width, 1, bias=False)
        outer = nn.Conv2d(width, target, 3, padding=1, bias=False)
        for conv in (inner, outer):
            nn.init.kaiming_uniform_(conv.weight, a=1)
        self.inner = nn.Sequential(inner, nn.BatchNorm2d(width))
        self.outer = nn.Sequential(outer, nn.BatchNorm2d(target))
        self.attention = nn.Conv2d(2 * width, 2, 1) if fuse else None

    def forward(
        self, features: Tensor, deeper: Tensor | None, size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Fuse one stage.

        Args:
            features: The student's map, [N, source, H, W].
            deeper: Second output of the deeper stage; None for the deepest stage.
            size: Height and width of the teacher's map.

        Returns:
            The map to compare, [N, target, *size], and the input of the next stage, [N, width,
            *size].
        """
        features = self.inner(features)
        if self.attention is not None and deeper is not None:
            deeper = _resized(deeper, features.shape[2:])
            weights = self.attention(torch.cat([features, deeper], dim=1)).sigmoid()
            features = features * weights[:, :1] + deeper * weights[:, 1:]

        features = _resized(features, size)
        return self.outer(features), features


class Review(nn.Module):
    """The fusion modules of all stages.

    Args:
        student: (C, H, W) of each stage, shallow to deep.
        teacher: (C, H, W) of each stage, shallow to deep.
        width: Number of hidden channels.
    """

    def __init__(
        self, student: Sequence[tuple[int, ...]], teacher: Sequence[tuple[int, ...]], width: int
    ):
        super().__init__()
        self.sizes = [shape[1:] for shape in teacher]
        last = len(student) - 1
        stages = enumerate(zip(student, teacher, strict=True))
        self.fusions = nn.ModuleList(
            Fusion(own[0], width, other[0], fuse=stage < last) for stage, (own, other) in stages
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Fuse the student's maps into the teacher's shapes, shallow to deep."""
        outputs: list[Tensor] = []
        deeper = None

        stages = list(zip(maps, self.fusions, self.sizes, strict=True))
        for features, fusion, size in reversed(stages):
            output, deeper = fusion(features, deeper, size)
            outputs.append(output)

        return outputs[::-1]


class KnowledgeReview(Method):
    """Match the teacher's stages with student stages that are fused with all deeper ones.

    Args:
        weight: Weight of the term.
        width: Maximum number of hidden channels.
        warm_up: Length of the linear warm-up, as a fraction of the training.
    """

    paper = Paper(
        "Distilling Knowledge via Knowledge Review", "Chen et al.", "CVPR", 2021, "arXiv:2104.09044"
    )
    formula = "sum over stages of HCL(fusion of this and deeper student maps, teacher map)"
    needs = Needs(maps=True, preactivations=True, embedding=True)
    changes_by_epoch = True

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.5, 50.0)] = 5.0,
        width: Annotated[int, Bound(low=1)] = 512,
        warm_up: Annotated[float, Bound(0.0, 1.0)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.width = width
        self.warm_up = warm_up
        self.ce = ce

        self.review: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Create the fusions, as wide as the student's embedding but at most `width`."""
        student = [*probe.student.maps, (*probe.student.embedding, 1, 1)]
        teacher = [*probe.teacher.maps, (*probe.teacher.embedding, 1, 1)]
        self.review = Review(student, teacher, min(self.width, *probe.student.embedding))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `reviewkd`: the sum over stages."""
        embedding, target = embeddings(student, teacher)
        fused = self.review([*student.maps, embedding[:, :, None, None]])
        targets = [*teacher.preactivations, target[:, :, None, None]]

        losses = [hcl_loss(own, other) for own, other in zip(fused, targets, strict=True)]
        weight = self.weight * warmed_up(batch, self.warm_up)
        return {"reviewkd": (weight, torch.stack(losses).sum())}


def _resized(features: Tensor, size: tuple[int, ...]) -> Tensor:
    return features if features.shape[2:] == size else F.interpolate(features, size, mode="nearest")
