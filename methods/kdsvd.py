"""Distillation by singular vectors. Lee, Kim & Song, ECCV 2018, arXiv:1807.06819, section 3.

Reduction: squared differences of radial-basis relations between consecutive maps, summed over all
pairs of elements, mean over the batch, summed over the pairs of maps. The two public
implementations decompose different matrices and cannot be compared. RepDistiller uses [positions,
channels], with vectors over channels, so channels of student and teacher must agree; this is the
paper's version. mdistiller uses [channels * height, width], with vectors over the width. The
default is mdistiller's with its weight 1, because it runs on pairs with any channels; maps are
average-pooled to the same size first.

The sign of a singular vector is a convention of the library, and the loss depends on the signs of
the teacher's vectors. Here the elements of a vector have a positive sum; the references leave the
sign to the library. The gradient through the decomposition is exact where singular values are
apart, and bounded where they meet or are zero, as for a map of zeros; the references give inf or
nan there.

Right singular vectors are computed as eigenvectors of the small matrix of the columns' inner
products, which is much faster than a singular value decomposition. Each decomposition waits for the
device. Small singular values lose digits in these products; use it in float32, not in TF32.

Settings: public code of others (mdistiller), for CIFAR-100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

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
    Terms,
)
from methods._adapters import pooled_alike

Space = Literal["channels", "width"]


def singular_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    k: int = 1,
    space: Space = "channels",
    signs: Sequence[Tensor] | None = None,
) -> Tensor:
    """Compare how the leading singular vectors of consecutive maps relate to each other.

    The teacher has k vectors, each scaled by its singular value. The student's k + 3 vectors are
    assigned to the teacher's by the largest absolute cosine, and flipped to the same side.

    Args:
        student: Two or more maps [N, C, H, W].
        teacher: Equally many maps that agree in channels or in width, as `space` requires; no
            gradient reaches them.
        k: Number of the teacher's vectors.
        space: Axis over which the vectors range.
        signs: For each stage, the sign of the sum of each of the teacher's vectors, 1 or -1,
            [N, k]; positive by default.

    Returns:
        Scalar: mean over the batch, summed over pairs of consecutive maps.
    """
    own, others = [], []
    for stage, (features, target) in enumerate(zip(student, teacher, strict=True)):
        vectors, sizes = _leading(_matrix(target.detach(), space), k)
        vectors = vectors * torch.where(vectors.sum(dim=1, keepdim=True) < 0, -1, 1)
        if signs is not None:
            vectors = vectors * signs[stage][:, None]

        sizes = F.normalize(sizes, dim=1)[:, None]
        candidates, _ = _leading(_matrix(features, space), k + 3)
        own.append(_aligned(candidates, vectors) * sizes)
        others.append(vectors * sizes)

    relations = zip(pairwise(own), pairwise(others), strict=True)
    losses = [(_relation(*pair) - _relation(*target)).pow(2).sum() for pair, target in relations]
    return torch.stack(losses).sum() / len(student[0])


class SingularValueDistillation(Method):
    """Relate the leading singular vectors of one stage to those of the next as the teacher does.

    Args:
        weight: Weight of the term.
        k: Number of the teacher's singular vectors.
        space: Axis over which the vectors range.
    """

    paper = Paper(
        "Self-supervised Knowledge Distillation Using Singular Value Decomposition",
        "Lee et al.",
        "ECCV",
        2018,
        "arXiv:1807.06819",
    )
    formula = (
        "sum over consecutive maps of |r_student - r_teacher|^2 / N, "
        "r = exp(-(v_i - v_(i-1))^2 / 8)"
    )
    needs = Needs(maps=True)
    minimum = 0.0
    capturable = False  # a decomposition waits, to check that it succeeded

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        k: Annotated[int, Bound(low=1)] = 1,
        space: Space = "width",
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.k = k
        self.space = space
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require two stages with enough singular vectors; `channels` also needs equal channels."""
        if reason := super().supports(probe):
            return reason

        stages = list(zip(probe.student.maps, probe.teacher.maps, strict=True))
        if len(stages) < 2:
            return "a single map: there is no relation of one stage to the next"
        if self.space == "channels" and any(own[0] != other[0] for own, other in stages):
            return "channels of the maps differ; set space: width to compare over the width"

        rank = min(_rank(own, other, self.space) for own, other in stages)
        if rank < self.k:
            return f"a map has only {rank} singular vectors, but k is {self.k}"
        if self.space == "width" and all(min(own[2], other[2]) == 1 for own, other in stages):
            return "all maps have a width of 1, so there are no vectors over it"
        return None

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `kdsvd`: the sum over consecutive stages."""
        stages = zip(student.maps, teacher.maps, strict=True)
        pairs = [pooled_alike(own, other) for own, other in stages]
        own = [features for features, _ in pairs]
        others = [features for _, features in pairs]

        loss = singular_loss(own, others, self.k, self.space)
        return {"kdsvd": (self.weight, loss)}


class _RightVectors(torch.autograd.Function):
    """Leading right singular vectors and values of a batch of matrices with few columns.

    They are the eigenvectors of the columns' inner products, and the roots of its eigenvalues. Only
    the vectors have a gradient. Instead of dividing by a difference d of eigenvalues, the backward
    pass multiplies by d / (d^2 + e^2), where e is a few rounding errors of the largest value.
    """

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
        # Vectors do not depend on a matrix's scale, but squares of tiny numbers would vanish.
        scale = torch.linalg.vector_norm(matrices, math.inf, dim=(1, 2), keepdim=True)
        scale = scale.clamp(min=1e-12)
        scaled = matrices / scale
        products = torch.nan_to_num(scaled.transpose(1, 2) @ scaled, posinf=0.0, neginf=0.0)

        values, vectors = torch.linalg.eigh(products)
        values, vectors = values.flip(1), vectors.flip(2)
        ctx.save_for_backward(scaled, scale, values, vectors)

        sizes = values[:, :count].clamp(min=0).sqrt() * scale[:, :, 0]
        ctx.mark_non_differentiable(sizes)
        return vectors[:, :, :count].clone(), sizes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        scaled, scale, values, vectors = ctx.saved_tensors
        leading = vectors[:, :, : gradient.shape[2]]
        size = values[:, :1, None].clamp(min=torch.finfo(values.dtype).tiny)
        eps = torch.finfo(values.dtype).eps * 16

        apart = (values[:, None, : gradient.shape[2]] - values[:, :, None]) / size
        shares = (vectors.transpose(1, 2) @ gradient) * (apart / (apart.square() + eps**2))
        products = vectors @ (shares / size) @ leading.transpose(1, 2)
        return scaled @ ((products + products.transpose(1, 2)) / scale), None


def _leading(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return leading right singular vectors [N, columns, k], and values [N, k]."""
    rows, columns = matrices.shape[1:]
    if rows >= columns:
        vectors, sizes = _RightVectors.apply(matrices, count)
        return vectors, sizes

    transposed = matrices.transpose(1, 2)
    left, sizes = _RightVectors.apply(transposed, count)
    return F.normalize(transposed @ left, dim=1), sizes


def _matrix(features: Tensor, space: Space) -> Tensor:
    """Return maps [N, C, H, W] as matrices with the vectors' axis as columns."""
    if space == "channels":
        return features.flatten(2).transpose(1, 2)
    return features.permute(0, 3, 2, 1).flatten(2).transpose(1, 2)


def _rank(student: tuple[int, ...], teacher: tuple[int, ...], space: Space) -> int:
    channels, height, width = (min(pair) for pair in zip(student, teacher, strict=True))
    return min(channels, height * width) if space == "channels" else min(channels * height, width)


def _aligned(vectors: Tensor, targets: Tensor) -> Tensor:
    """Pick, for each target, the vector with the largest absolute cosine, flipped if negative.

    Vectors that tie are added.
    """
    cosines = vectors.detach().transpose(1, 2) @ targets
    best = cosines.abs() == cosines.abs().amax(dim=1, keepdim=True)
    return vectors @ torch.where(best, cosines.sign(), 0.0)


def _relation(previous: Tensor, current: Tensor) -> Tensor:
    return torch.exp(-(current[:, :, None] - previous[:, None]).pow(2) / 8)
