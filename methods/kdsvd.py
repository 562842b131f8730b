"""Distillation by singular vectors. Lee, Kim & Song, ECCV 2018, arXiv:1807.06819, sections 3.1 to 3.3.

Reduction: squared differences of radial-basis relations between consecutive maps, summed over all pairs of elements,
mean over the batch, summed over the pairs of maps. The two public implementations decompose different matrices and
cannot be compared. RepDistiller: [positions, channels], vectors over channels, so channels of student and teacher must
agree; this is the paper's. mdistiller: [channels * height, width], vectors over the width. The default is mdistiller's
with its weight 1, because it runs on pairs of any channels; maps are average-pooled to alike sizes first.

The sign of a singular vector is a convention of the library, and the value depends on the teacher's: on one card it may
be another than on the next. Here a vector's elements have a positive sum; the references leave it to the library
(`fixed_signs=False`). The gradient through the decomposition is exact where singular values are apart, and bounded
where they meet, are zero, or the map is zero: references give inf or nan there. The decomposition waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative

Space = Literal["channels", "width"]


def singular_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    k: int = 1,
    space: Space = "channels",
    fixed_signs: bool = False,
) -> Tensor:
    """Difference of the relations between the leading singular vectors of consecutive maps.

    student, teacher: two or more maps [N, C, H, W], alike in channels or in width, after `space` -> scalar. The teacher
    has k vectors, each scaled by its singular value; the student's k + 3 vectors are turned and assigned to the
    teacher's by the largest cosine. No gradient reaches the teacher.
    """
    given, wanted = [], []
    for one, other in zip(student, teacher, strict=True):
        vectors, sizes = _leading(_matrix(other.detach(), space), k)
        if fixed_signs:
            vectors = vectors * torch.where(vectors.sum(dim=1, keepdim=True) < 0, -1, 1)
        sizes = F.normalize(sizes, dim=1)[:, None]
        given.append(_aligned(_leading(_matrix(one, space), k + 3)[0], vectors) * sizes)
        wanted.append(vectors * sizes)
    losses = [
        (_relation(given, i) - _relation(wanted, i)).pow(2).sum() for i in range(1, len(given))
    ]
    return torch.stack(losses).sum() / len(student[0])


class SingularValueDistillation(Method):
    """Leading singular vectors of one stage relate to those of the next as in the teacher."""

    paper = Paper(
        "Self-supervised Knowledge Distillation Using Singular Value Decomposition",
        "Lee et al.",
        "ECCV",
        2018,
        "arXiv:1807.06819",
    )
    formula = "sum over consecutive maps of |r_student - r_teacher|^2 / N, r = exp(-(v_i - v_(i-1))^2 / 8)"
    needs = Needs(maps=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        k: Annotated[int, Bound(low=1)] = 1,
        space: Space = "width",
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.k, self.space, self.ce = weight, k, space, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs two stages, as many singular vectors as asked for, and in `channels` equal channels."""
        if reason := super().supports(probe):
            return reason
        stages = list(zip(probe.student.maps, probe.teacher.maps, strict=True))
        if len(stages) < 2:
            return "a single map: there is no relation of one stage to the next"
        if self.space == "channels" and any(s[0] != t[0] for s, t in stages):
            return "channels of the maps differ; settings space: width compares over the width"
        ranks = [_rank(s, t, self.space) for s, t in stages]
        if min(ranks) < self.k:
            return f"a map with {min(ranks)} singular vectors, k is {self.k}"
        if self.space == "width" and all(min(s[2], t[2]) == 1 for s, t in stages):
            return "all maps have a width of 1, so there are no vectors over it"
        return None

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `kdsvd`: the sum over consecutive stages."""
        pairs = [pooled_alike(s, t) for s, t in zip(student.maps, teacher.maps, strict=True)]
        loss = singular_loss(
            [s for s, _ in pairs], [t for _, t in pairs], self.k, self.space, fixed_signs=True
        )
        return {"kdsvd": (self.weight, loss)}


class _RightVectors(torch.autograd.Function):
    """Leading right singular vectors and values of a batch of matrices; only the vectors have a gradient.

    Where the gradient divides by a difference d of squared singular values, it multiplies by d / (d^2 + e^2) instead,
    e being a few roundings of the largest one.
    """

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        ctx.save_for_backward(left, values, right)
        values = values[:, :count].clone()
        ctx.mark_non_differentiable(values)
        return right[:, :count].transpose(1, 2).contiguous(), values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        left, values, right = ctx.saved_tensors
        size = values[:, :1].clamp(min=1e-12)
        values = values / size
        eps = torch.finfo(values.dtype).eps * 16
        inner = F.pad(right @ gradient, (0, values.shape[1] - gradient.shape[2]))
        apart = (values[:, None] - values[:, :, None]) * (values[:, None] + values[:, :, None])
        inner = inner * (apart / (apart.square() + eps**2))
        rows = values[:, :, None] * (inner + inner.transpose(1, 2)) @ right
        if right.shape[1] < right.shape[2]:  # what is orthogonal to all vectors
            count = gradient.shape[2]
            outside = gradient - right.transpose(1, 2) @ (right @ gradient)
            kept = values[:, :count, None]
            rows[:, :count] += kept / (kept.square() + eps**2) * outside.transpose(1, 2)
        return left @ rows / size[:, :, None], None


def _leading(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    vectors, values = _RightVectors.apply(torch.nan_to_num(matrices, posinf=0.0, neginf=0.0), count)
    return vectors, values


def _matrix(features: Tensor, space: Space) -> Tensor:
    return features.flatten(2).transpose(1, 2) if space == "channels" else features.flatten(1, 2)


def _rank(student: tuple[int, ...], teacher: tuple[int, ...], space: Space) -> int:
    channels, height, width = (min(pair) for pair in zip(student, teacher, strict=True))
    return min(channels, height * width) if space == "channels" else min(channels * height, width)


def _aligned(vectors: Tensor, targets: Tensor) -> Tensor:
    """For each target the vector of the largest absolute cosine (their sum where tied), turned to its side."""
    cosines = vectors.detach().transpose(1, 2) @ targets
    best = cosines.abs() == cosines.abs().amax(dim=1, keepdim=True)
    return vectors @ torch.where(best, cosines.sign(), 0.0)


def _relation(vectors: Sequence[Tensor], place: int) -> Tensor:
    return torch.exp(-(vectors[place][:, :, None] - vectors[place - 1][:, None]).pow(2) / 8)
