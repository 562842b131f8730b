"""What stands between two networks of different shape: poolings, and projectors that train beside the student."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Probe


def pooled_alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller height and the smaller width, by adaptive average pooling.  [N, C, H, W] each."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return _pooled(student, size), _pooled(teacher, size)


def _pooled(features: Tensor, size: tuple[int, int]) -> Tensor:
    return features if features.shape[2:] == size else F.adaptive_avg_pool2d(features, size)


def single_position(probe: Probe) -> str | None:
    """Reason against methods that scale over positions: every stage has but one of them in one of the networks."""
    stages = zip(probe.student.maps, probe.teacher.maps, strict=True)
    if all(min(s[1] * s[2], t[1] * t[2]) == 1 for s, t in stages):
        return "all maps have a single position, so there is no pattern over positions to transfer"
    return None


class ConvRegressor(nn.Module):
    """Brings a student's map to a teacher's shape: a convolution chosen by the sizes, then BatchNorm and ReLU.

    The convolution is RepDistiller's: 3x3 with stride 2 where the student's map is twice as large, a 4x4 transposed
    one with stride 2 where it is half as large, otherwise a kernel of 1 + difference. Maps that are further apart,
    where its kernel is larger than the teacher's map (25x25 from 32 to 8), or smaller otherwise than by half, where
    it has none, are first resampled (pooled or bilinear) to the teacher's size, then a 1x1 convolution.

    student, teacher: (C, H, W) of the two maps.
    """

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]):
        super().__init__()
        (source, *size), (target, *wanted) = student, teacher
        self.resample: tuple[int, int] | None = None
        if size == [2 * side for side in wanted]:
            conv: nn.Module = nn.Conv2d(source, target, 3, stride=2, padding=1)
        elif [2 * side for side in size] == wanted:
            conv = nn.ConvTranspose2d(source, target, 4, stride=2, padding=1)
        elif all(side <= have < 2 * side for have, side in zip(size, wanted, strict=True)):
            conv = nn.Conv2d(
                source, target, [1 + have - side for have, side in zip(size, wanted, strict=True)]
            )  # type: ignore[arg-type]
        else:
            conv = nn.Conv2d(source, target, 1)
            self.resample = (wanted[0], wanted[1])
        self.conv, self.norm = conv, nn.BatchNorm2d(target)

    def forward(self, features: Tensor) -> Tensor:
        """[N, C_student, H, W] -> [N, C_teacher, H', W']."""
        if self.resample is not None:
            shrinks = (
                features.shape[2] >= self.resample[0] and features.shape[3] >= self.resample[1]
            )
            features = (
                F.adaptive_avg_pool2d(features, self.resample)
                if shrinks
                else F.interpolate(features, self.resample, mode="bilinear", align_corners=False)
            )
        return F.relu(self.norm(self.conv(features)))
