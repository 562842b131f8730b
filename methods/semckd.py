"""SemCKD: cross-layer distillation with semantic calibration. Chen et al., AAAI 2021, arXiv:2012.03236, section 3.

Reduction: mean squared error over each map's elements, weighted by the attention of a sample's student stage to the
teacher's stages, summed over teacher stages and averaged over samples and student stages. As in the authors' code:
queries and keys are made of the rows of the batch's Gram matrices, so their input is as wide as the batch and only full
batches work (the authors skip others); each of the stage pairs has a projector; the larger of two maps is
average-pooled. `soft` divides the attention's energies; one of the authors' two repositories has it, at 1.

The published weight 400 (50 on ImageNet) stands beside CE 1 and KD 1: `kd+semckd` with the weight 1 for KD. All maps
are used, the pooled embedding is not. Published for batches of 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._features import unit_rows
from methods._settings import Bound, LogUniform, NonNegative, Positive


def semckd_loss(
    projected: Sequence[Sequence[Tensor]], teacher: Sequence[Sequence[Tensor]], weights: Tensor
) -> Tensor:
    """Weighted mean squared errors, summed over pairs, divided by samples and student stages.

    projected, teacher: for each student stage and each teacher stage two maps [N, C, H, W] of one shape. weights:
    [N, student stages, teacher stages] -> scalar. No gradient reaches the teacher.
    """
    rows = []
    for own, others in zip(projected, teacher, strict=True):
        pairs = zip(own, others, strict=True)
        rows.append(
            torch.stack(
                [(one - other.detach()).pow(2).flatten(1).mean(dim=1) for one, other in pairs],
                dim=1,
            )
        )
    return (weights * torch.stack(rows, dim=1)).sum() / (len(weights) * weights.shape[1])


def attention(queries: Tensor, keys: Tensor, soft: float = 1.0) -> Tensor:
    """Softmax over teacher stages of the inner products divided by `soft`.

    queries: [N, student stages, D], keys: [N, teacher stages, D] -> [N, student stages, teacher stages].
    """
    return F.softmax(queries @ keys.transpose(1, 2) / soft, dim=2)


def similarities(features: Tensor) -> Tensor:
    """Inner products of all samples of a batch.  [N, C, H, W] -> [N, N]."""
    flat = features.flatten(1)
    return flat @ flat.T


class SemanticCalibration(Method):
    """Each student stage learns from the teacher stages that see the batch as it does."""

    paper = Paper(
        "Cross-Layer Distillation with Semantic Calibration",
        "Chen et al.",
        "AAAI",
        2021,
        "arXiv:2012.03236",
    )
    formula = "mean over samples and student stages i of sum_j w_ij MSE(proj_ij(f_s_i), f_t_j), w an attention"
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
        self.weight, self.factor, self.soft, self.ce = weight, factor, soft, ce
        self.queries, self.keys, self.projectors = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()

    def build(self, probe: Probe) -> None:
        """Makes queries and keys for the batch size, and a projector for each pair of stages."""
        size, width = probe.batch_size, max(probe.batch_size // self.factor, 1)
        self.queries = nn.ModuleList(_Embedding(size, width) for _ in probe.student.maps)
        self.keys = nn.ModuleList(_Embedding(size, width) for _ in probe.teacher.maps)
        self.projectors = nn.ModuleList(
            _projector(own[0], other[0])
            for own in probe.student.maps
            for other in probe.teacher.maps
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `semckd`."""
        targets = [one.detach() for one in teacher.maps]
        queries = [
            embed(similarities(one)) for embed, one in zip(self.queries, student.maps, strict=True)
        ]
        keys = [embed(similarities(one)) for embed, one in zip(self.keys, targets, strict=True)]
        weights = attention(torch.stack(queries, dim=1), torch.stack(keys, dim=1), self.soft)
        pairs = [[pooled_alike(own, other) for other in targets] for own in student.maps]
        projectors = iter(self.projectors)
        projected = [[next(projectors)(own) for own, _ in row] for row in pairs]
        return {
            "semckd": (
                self.weight,
                semckd_loss(projected, [[other for _, other in row] for row in pairs], weights),
            )
        }


class _Embedding(nn.Module):
    """Two layers, then unit length.  [N, N] -> [N, width]."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, rows: Tensor) -> Tensor:
        return unit_rows(self.layers(rows))


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
