"""WKD-F: Wasserstein distance between feature distributions. Lv et al., NeurIPS 2024, arXiv:2412.08139, section 3.2.

Reduction: squared differences of the channels' means and of their deviations, over the positions of a map (or of each
cell of a grid), summed over channels, averaged over the batch and the cells; the means count `ratio` times. Deviations
are sqrt(unbiased variance + 1e-5), as in the authors' code; a cell of one position, where that is nan, has variance 0.
Statistics need no equal sizes, so neither map is resampled.

Defaults are the authors' for resnet32x4 to resnet8x4 on CIFAR-100: weight 0.08, ratio 4, no grid, last stage, projector
1x1 convolution, BatchNorm and ReLU; elsewhere 0.02, ratio 2 and a grid of 4. The weight falls along a cosine after
epoch 150 of 240, kept as a share so that it carries over to recipes of other lengths.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative


def wkd_feature_loss(
    student: Tensor, teacher: Tensor, ratio: float = 4.0, grid: int = 1, eps: float = 1e-5
) -> Tensor:
    """The distance of means, `ratio` times, and the distance of deviations.

    student: the projected map [N, C, H, W], teacher: [N, C, H', W'] -> scalar. No gradient reaches the teacher.
    """
    means, deviations = gaussian_distances(student, teacher, grid, eps)
    return ratio * means + deviations


def gaussian_distances(
    student: Tensor, teacher: Tensor, grid: int = 1, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Squared distances of means and of deviations, summed over channels, mean over batch and cells: two scalars."""
    own, others = _moments(student, grid, eps), _moments(teacher.detach(), grid, eps)
    cells = len(student) * grid**2
    means, deviations = (
        (one - other).pow(2).sum() / cells for one, other in zip(own, others, strict=True)
    )
    return means, deviations


class WassersteinFeatures(Method):
    """Each channel of the student's map is distributed as the teacher's."""

    paper = Paper(
        "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        "Lv et al.",
        "NeurIPS",
        2024,
        "arXiv:2412.08139",
    )
    formula = "ratio * |mean_s - mean_t|^2 + |std_s - std_t|^2 over positions, of one stage"
    needs = Needs(maps=True)

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
        self.weight, self.ratio, self.grid, self.ce = weight, ratio, grid, ce
        self.stage, self.decay_from = stage, decay_from
        self.projector: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Needs the stage in both networks."""
        reason = super().supports(probe)
        count = len(probe.student.maps)
        if reason is None and not -count <= self.stage < count:
            reason = f"stage {self.stage} of {count}: there is no such map"
        return reason

    def build(self, probe: Probe) -> None:
        """Makes the projector to the teacher's channels."""
        source, target = probe.student.maps[self.stage][0], probe.teacher.maps[self.stage][0]
        self.projector = nn.Sequential(
            nn.Conv2d(source, target, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU()
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `wkd_feature`."""
        projected = self.projector(student.maps[self.stage])
        loss = wkd_feature_loss(projected, teacher.maps[self.stage], self.ratio, self.grid)
        return {"wkd_feature": (self.weight * _decayed(batch, self.decay_from), loss)}


def _moments(features: Tensor, grid: int, eps: float) -> tuple[Tensor, Tensor]:
    """Means and deviations over the cells of a grid, cut as adaptive pooling cuts.  -> [cells, N, C] each."""
    height, width = features.shape[2:]
    cells = [
        features[:, :, down, across]
        for down in _cuts(height, grid)
        for across in _cuts(width, grid)
    ]
    means = [cell.mean(dim=(2, 3), keepdim=True) for cell in cells]
    variances = [
        (cell - mean).pow(2).sum(dim=(2, 3)) / max(cell.shape[2] * cell.shape[3] - 1, 1)
        for cell, mean in zip(cells, means, strict=True)
    ]
    return torch.stack(means)[..., 0, 0], (torch.stack(variances) + eps).sqrt()


def _cuts(size: int, grid: int) -> list[slice]:
    return [slice(at * size // grid, -(-(at + 1) * size // grid)) for at in range(grid)]


def _decayed(batch: Batch, share: float) -> float:
    """1 up to a share of the training, then along half a cosine to 0 in the last epoch."""
    late = ((batch.epoch + 1) / batch.epochs - share) / max(1 - share, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(max(late, 0.0), 1.0)))
