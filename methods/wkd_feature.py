"""WKD-F: Wasserstein distance of feature distributions. Lv et al., NeurIPS 2024, arXiv:2412.08139.

Reduction (section 3.2): squared differences of the channels' means and of their deviations, over
the positions of a map (or of each cell of a grid), summed over channels, averaged over the batch
and the cells; the means are weighted by `ratio`. Deviations are sqrt(unbiased variance + 1e-5), as
in the authors' code; a cell of one position, whose unbiased variance is nan, has variance 0. The
statistics do not require equal sizes, so neither map is resampled.

Defaults are the authors' for resnet32x4 to resnet8x4 on CIFAR-100: weight 0.08, ratio 4, no grid,
last stage, projector of 1x1 convolution, BatchNorm and ReLU; elsewhere 0.02, ratio 2 and a grid of
4. The weight falls along a cosine after epoch 150 of 240; this point is stored as a fraction so
that it carries over to other recipes.

Settings: published by the authors, for resnet32x4/resnet8x4 on CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
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


def wkd_feature_loss(
    student: Tensor, teacher: Tensor, ratio: float = 4.0, grid: int = 1, eps: float = 1e-5
) -> Tensor:
    """Compute `ratio` times the distance of means, plus the distance of deviations.

    Args:
        student: The projected map, [N, C, H, W].
        teacher: Map [N, C, H', W']; no gradient reaches it.
        ratio: Weight of the means.
        grid: Cells per side.
        eps: Constant added to variances.

    Returns:
        Scalar: summed over channels, mean over batch and cells.
    """
    means, deviations = gaussian_distances(student, teacher, grid, eps)
    return ratio * means + deviations


def gaussian_distances(
    student: Tensor, teacher: Tensor, grid: int = 1, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Compute the squared distances of means and of deviations.

    Args:
        student: The projected map, [N, C, H, W].
        teacher: Map [N, C, H', W']; no gradient reaches it.
        grid: Cells per side.
        eps: Constant added to variances.

    Returns:
        Two scalars: each summed over channels, mean over batch and cells.
    """
    own_means, own_deviations = _moments(student, grid, eps)
    other_means, other_deviations = _moments(teacher.detach(), grid, eps)

    cells = len(student) * grid**2
    means = (own_means - other_means).pow(2).sum() / cells
    deviations = (own_deviations - other_deviations).pow(2).sum() / cells
    return means, deviations


class WassersteinFeatures(Method):
    """Distribute each channel of the student's map like the teacher's.

    Args:
        weight: Weight of the term.
        ratio: Weight of the means within the term.
        grid: Cells per side.
        stage: Stage to compare; negative numbers count from the deepest stage.
        decay_from: Share of the training after which the weight falls.
    """

    paper = Paper(
        "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        "Lv et al.",
        "NeurIPS",
        2024,
        "arXiv:2412.08139",
    )
    formula = "ratio * |mean_s - mean_t|^2 + |std_s - std_t|^2 over positions, of one stage"
    needs = Needs(maps=True)
    changes_by_epoch = True

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(8e-3, 0.8)] = 0.08,
        ratio: Annotated[float, NonNegative, LogUniform(0.5, 50.0)] = 4.0,
        grid: Annotated[int, Bound(low=1)] = 1,
        stage: int = -1,
        decay_from: Annotated[float, Bound(0.0, 1.0)] = 150 / 240,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ratio = ratio
        self.grid = grid
        self.stage = stage
        self.decay_from = decay_from
        self.ce = ce

        self.projector: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Require the stage in both networks."""
        reason = super().supports(probe)
        count = len(probe.student.maps)
        if reason is None and not -count <= self.stage < count:
            reason = f"stage {self.stage} is out of range; number of stages: {count}"
        return reason

    def build(self, probe: Probe) -> None:
        """Make the projector to the teacher's channels."""
        source, target = probe.student.maps[self.stage][0], probe.teacher.maps[self.stage][0]
        self.projector = nn.Sequential(
            nn.Conv2d(source, target, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU()
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `wkd_feature`."""
        projected = self.projector(student.maps[self.stage])
        loss = wkd_feature_loss(projected, teacher.maps[self.stage], self.ratio, self.grid)
        return {"wkd_feature": (self.weight * _decayed(batch, self.decay_from), loss)}


def _moments(features: Tensor, grid: int, eps: float) -> tuple[Tensor, Tensor]:
    """Compute means and deviations over the cells of a grid, cut as in adaptive pooling.

    Args:
        features: Map [N, C, H, W].
        grid: Cells per side.
        eps: Constant added to variances.

    Returns:
        Means and deviations, [cells, N, C] each.
    """
    height, width = features.shape[2:]

    means, variances = [], []
    for rows in _cuts(height, grid):
        for columns in _cuts(width, grid):
            cell = features[:, :, rows, columns]
            mean = cell.mean(dim=(2, 3), keepdim=True)
            positions = cell.shape[2] * cell.shape[3]
            variance = (cell - mean).pow(2).sum(dim=(2, 3)) / max(positions - 1, 1)
            means.append(mean)
            variances.append(variance)

    return torch.stack(means)[..., 0, 0], (torch.stack(variances) + eps).sqrt()


def _cuts(size: int, grid: int) -> list[slice]:
    """Cut a side into `grid` slices, each from the floor to the ceiling of its exact bounds."""
    return [slice(cell * size // grid, -(-(cell + 1) * size // grid)) for cell in range(grid)]


def _decayed(batch: Batch, share: float) -> float:
    """Return 1 up to a share of the training, then a half cosine down to 0 in the last epoch."""
    late = ((batch.epoch + 1) / batch.epochs - share) / max(1 - share, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(max(late, 0.0), 1.0)))
