"""ReviewKD: distillation through knowledge review. Chen, Liu, Zhao & Jia, CVPR 2021, arXiv:2104.09044, section 3.

Reduction: hierarchical context loss of each stage (mean squared errors over all elements, of the maps with weight 1 and
of their poolings to 4x4, 2x2 and 1x1, those smaller than the map's height, with 1/2, 1/4, 1/8, divided by the sum of
the weights used), summed over stages. As in the authors' code: stages go from deep to shallow, each is fused with what
comes from the deeper one; the student's maps are taken after their activation and the teacher's before it; the pooled
embedding is the deepest stage, a map of one position. All stages that can be tapped take part.

Published weights differ by pair: 0.6 (resnet56 to 20), 1 (resnet110 to 32), 5 (WRN, resnet32x4 to 8x4 or to
ShuffleNetV1), 8 (ShuffleNetV2); on ImageNet 1 (ResNet-18) and 8 (MobileNet). The weight grows over 20 of 240 epochs,
kept as a share so that it carries over to recipes of other lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._features import embeddings
from methods._logits import warmed_up
from methods._settings import Bound, LogUniform, NonNegative


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of one stage.

    student: the fused map, teacher: its map, both [N, C, H, W] -> scalar. No gradient reaches the teacher.
    """
    teacher = teacher.detach()
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for level in (4, 2, 1):
        if level < student.shape[2]:
            weight /= 2
            total += weight
            pooled = F.adaptive_avg_pool2d(student, level), F.adaptive_avg_pool2d(teacher, level)
            loss = loss + weight * F.mse_loss(*pooled)
    return loss / total


class Fusion(nn.Module):
    """Fuses a stage with what comes from the deeper one, by an attention over the two.

    source, width, target: channels of the student's map, inside, and of the teacher's map. fuse: False at the deepest.
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
        """The map to compare, of the given height and width, and what goes on to the next stage."""
        features = self.inner(features)
        if self.attention is not None and deeper is not None:
            deeper = _resized(deeper, features.shape[2:])
            weights = self.attention(torch.cat([features, deeper], dim=1)).sigmoid()
            features = features * weights[:, :1] + deeper * weights[:, 1:]
        features = _resized(features, size)
        return self.outer(features), features


class Review(nn.Module):
    """The fusions of all stages.

    student, teacher: (C, H, W) of each stage, shallow to deep. width: channels inside.
    """

    def __init__(
        self, student: Sequence[tuple[int, ...]], teacher: Sequence[tuple[int, ...]], width: int
    ):
        super().__init__()
        self.sizes = [shape[1:] for shape in teacher]
        last = len(student) - 1
        stages = enumerate(zip(student, teacher, strict=True))
        self.fusions = nn.ModuleList(
            Fusion(own[0], width, other[0], at < last) for at, (own, other) in stages
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The student's maps to the teacher's shapes, shallow to deep."""
        found: list[Tensor] = []
        deeper = None
        for features, fusion, size in reversed(
            list(zip(maps, self.fusions, self.sizes, strict=True))
        ):
            output, deeper = fusion(features, deeper, size)
            found.insert(0, output)
        return found


class KnowledgeReview(Method):
    """Deep stages of the student help shallow ones to imitate the teacher's."""

    paper = Paper(
        "Distilling Knowledge via Knowledge Review", "Chen et al.", "CVPR", 2021, "arXiv:2104.09044"
    )
    formula = "sum over stages of HCL(fusion of this and deeper student maps, teacher map)"
    needs = Needs(maps=True, preactivations=True, embedding=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.5, 50.0)] = 5.0,
        width: Annotated[int, Bound(low=1)] = 512,
        warm_up: Annotated[float, Bound(0.0, 1.0)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.width, self.warm_up, self.ce = weight, width, warm_up, ce
        self.review: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Makes the fusions; they are as wide as the student's embedding, `width` at most."""
        student, teacher = (
            [*shapes.maps, (*shapes.embedding, 1, 1)] for shapes in (probe.student, probe.teacher)
        )
        self.review = Review(student, teacher, min(self.width, *probe.student.embedding))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `reviewkd`: the sum over stages."""
        own, other = (embedding[:, :, None, None] for embedding in embeddings(student, teacher))
        fused, targets = self.review([*student.maps, own]), [*teacher.preactivations, other]
        losses = [hcl_loss(one, target) for one, target in zip(fused, targets, strict=True)]
        return {
            "reviewkd": (self.weight * warmed_up(batch, self.warm_up), torch.stack(losses).sum())
        }


def _resized(features: Tensor, size: tuple[int, ...]) -> Tensor:
    return features if features.shape[2:] == size else F.interpolate(features, size, mode="nearest")
