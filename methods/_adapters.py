"""Adapters between networks of different shapes: pooling, and trainable projectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Probe


def pooled_alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two maps to the smaller height and the smaller width.

    Args:
        student: Map [N, C, H, W].
        teacher: Map [N, C', H', W'].

    Returns:
        Both maps, with equal heights and equal widths.
    """
    height = min(student.shape[2], teacher.shape[2])
    width = min(student.shape[3], teacher.shape[3])
    return pooled_to(student, (height, width)), pooled_to(teacher, (height, width))


def pooled_to(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Average-pool a map [N, C, H, W] to a size, unless it already has that size.

    Where the map's sides are multiples of the size, all cells are equally large and the gradient is
    deterministic on a GPU; that of adaptive pooling is not, unless it takes the mean of the map.
    """
    height, width = features.shape[2:]
    if (height, width) == size:
        return features

    divides = height % size[0] == 0 and width % size[1] == 0
    if divides and size != (1, 1):
        return F.avg_pool2d(features, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(features, size)


def single_position(probe: Probe, pattern: str = "pattern over positions") -> str | None:
    """Return why a method that compares positions cannot run on a pair; None if it can.

    It cannot if every stage has a single position in at least one of the networks.

    Args:
        probe: The pair.
        pattern: Name, in the message, of what the method transfers.
    """
    stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
    if all(1 in (own[1] * own[2], other[1] * other[2]) for own, other in stages):
        return f"all maps have a single position, so there is no {pattern} to transfer"
    return None


class ConvRegressor(nn.Module):
    """Regress a student's map to a teacher's shape: a convolution, BatchNorm and ReLU.

    The convolution is chosen according to the sizes, as in RepDistiller: 3x3 with stride 2 where
    the student's map is twice as large, a transposed 4x4 with stride 2 where it is half as large,
    otherwise a kernel of size 1 + difference. For sizes that are further apart, that kernel would
    be larger than the teacher's map (25x25 from 32 to 8), and no such kernel exists if the
    student's map is smaller; such maps are resampled to the teacher's size, by pooling or
    bilinearly, and go through a 1x1 convolution.

    Args:
        student: (C, H, W) of the student's map.
        teacher: (C, H, W) of the teacher's map.
    """

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]):
        super().__init__()
        source, *size = student
        target, *goal = teacher
        sides = list(zip(size, goal, strict=True))

        self.resample: tuple[int, int] | None = None
        conv: nn.Module
        if all(side == 2 * goal_side for side, goal_side in sides):
            conv = nn.Conv2d(source, target, 3, stride=2, padding=1)
        elif all(2 * side == goal_side for side, goal_side in sides):
            conv = nn.ConvTranspose2d(source, target, 4, stride=2, padding=1)
        elif all(goal_side <= side < 2 * goal_side for side, goal_side in sides):
            kernel = (1 + size[0] - goal[0], 1 + size[1] - goal[1])
            conv = nn.Conv2d(source, target, kernel)
        else:
            conv = nn.Conv2d(source, target, 1)
            self.resample = (goal[0], goal[1])

        self.conv = conv
        self.norm = nn.BatchNorm2d(target)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, C_student, H, W] to [N, C_teacher, H', W']."""
        if self.resample is not None:
            features = _resampled(features, self.resample)
        return F.relu(self.norm(self.conv(features)))


def _resampled(features: Tensor, size: tuple[int, int]) -> Tensor:
    shrinks = features.shape[2] >= size[0] and features.shape[3] >= size[1]
    if shrinks:
        return pooled_to(features, size)
    return F.interpolate(features, size, mode="bilinear", align_corners=False)
