"""SemCKD: cross-layer distillation with semantic calibration. Chen et al., AAAI 2021.

arXiv:2012.03236, section 3. Reduction: mean squared error over each map's elements, weighted by the
attention of a sample's student stage to the teacher's stages, summed over teacher stages and
averaged over samples and student stages. As in the authors' code: queries and keys are computed
from the rows of the batch's Gram matrices, so their input is as wide as the batch and only full
batches work (the authors skip others); each pair of stages has a projector; the larger of two maps
is average-pooled. `soft` divides the attention's energies; it exists in one of the authors' two
repositories, where it is 1.

The published weight 400 (50 on ImageNet) goes with CE 1 and KD 1: use `kd+semckd` with weight 1 for
KD. All maps are used; the pooled embedding is not. The weight was published for batches of 64.

Settings: published by the authors, for CIFAR-100, where KD is added.
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
    Positive,
    Probe,
    Terms,
)
from methods._adapters import pooled_alike
from methods._features import unit_rows


def semckd_loss(
    projected: Sequence[Sequence[Tensor]], teacher: Sequence[Sequence[Tensor]], weights: Tensor
) -> Tensor:
    """Compute the attention-weighted errors of all pairs of stages.

    Args:
        projected: For each student stage and each teacher stage, the projected map [N, C, H, W].
        teacher: For each student stage and each teacher stage, the teacher's map in the same shape;
            no gradient reaches it.
        weights: Attention, [N, student stages, teacher stages].

    Returns:
        Scalar: sum over pairs, divided by samples and student stages.
    """
    rows = []
    for own, others in zip(projected, teacher, strict=True):
        errors = [
            (features - target.detach()).pow(2).flatten(1).mean(dim=1)
            for features, target in zip(own, others, strict=True)
        ]
        rows.append(torch.stack(errors, dim=1))

    return (weights * torch.stack(rows, dim=1)).sum() / (len(weights) * weights.shape[1])


def attention(queries: Tensor, keys: Tensor, soft: float = 1.0) -> Tensor:
    """Compute the attention of student stages to teacher stages.

    Args:
        queries: Queries [N, student stages, D].
        keys: Keys [N, teacher stages, D].
        soft: Divisor of the inner products.

    Returns:
        Softmax over teacher stages, [N, student stages, teacher stages].
    """
    return F.softmax(queries @ keys.transpose(1, 2) / soft, dim=2)


def similarities(features: Tensor) -> Tensor:
    """Compute inner products of all pairs of samples: [N, C, H, W] -> [N, N]."""
    flat = features.flatten(1)
    return flat @ flat.T


class SemanticCalibration(Method):
    """Let each student stage learn from teacher stages with similar relations between samples.

    Args:
        weight: Weight of the term.
        factor: Ratio of the batch size to the width of queries and keys.
        soft: Divisor of the attention's energies.
    """

    paper = Paper(
        "Cross-Layer Distillation with Semantic Calibration",
        "Chen et al.",
        "AAAI",
        2021,
        "arXiv:2012.03236",
    )
    formula = (
        "mean over samples and student stages i of sum_j w_ij MSE(proj_ij(f_s_i), f_t_j), "
        "w an attention"
    )
    needs = Needs(maps=True)
    assumes_batch = 64

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(4e1, 4e3)] = 400.0,
        factor: Annotated[int, Bound(low=1)] = 4,
        soft: Annotated[float, Positive, LogUniform(0.1, 10.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.factor = factor
        self.soft = soft
        self.ce = ce

        self.queries = nn.ModuleList()
        self.keys = nn.ModuleList()
        self.projectors = nn.ModuleList()

    def build(self, probe: Probe) -> None:
        """Make queries and keys for the batch size, and a projector for each pair of stages."""
        size = probe.batch_size
        width = max(size // self.factor, 1)

        self.queries = nn.ModuleList(_Embedding(size, width) for _ in probe.student.maps)
        self.keys = nn.ModuleList(_Embedding(size, width) for _ in probe.teacher.maps)
        self.projectors = nn.ModuleList(
            _projector(own[0], other[0])
            for own in probe.student.maps
            for other in probe.teacher.maps
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `semckd`."""
        teacher_maps = [features.detach() for features in teacher.maps]
        queries = _embedded(self.queries, student.maps)
        keys = _embedded(self.keys, teacher_maps)
        weights = attention(queries, keys, self.soft)

        projectors = iter(self.projectors)
        projected, targets = [], []
        for own in student.maps:
            pairs = [pooled_alike(own, other) for other in teacher_maps]
            projected.append([next(projectors)(source) for source, _ in pairs])
            targets.append([target for _, target in pairs])
        return {"semckd": (self.weight, semckd_loss(projected, targets, weights))}


class _Embedding(nn.Module):
    """Embed rows of a Gram matrix by two layers at unit length: [N, N] -> [N, width]."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, rows: Tensor) -> Tensor:
        return unit_rows(self.layers(rows))


def _embedded(modules: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Embed the similarities of each stage: [N, stages, width]."""
    stages = zip(modules, maps, strict=True)
    return torch.stack([embed(similarities(features)) for embed, features in stages], dim=1)


def _projector(source: int, target: int) -> nn.Sequential:
    width = 2 * target
    return nn.Sequential(
        nn.Conv2d(source, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, target, 1, bias=False),
    )
