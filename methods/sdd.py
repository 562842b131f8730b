"""Scale-decoupled distillation. Wei, Luo & Luo, CVPR 2024, arXiv:2403.13512, section 3.

Each region of a network's last map, the whole, its 2x2 and its 4x4 cells, is averaged and pushed through the network's
own classifier, and the student's prediction for each region learns from the teacher's. A region counts twice where the
teacher is right about it and wrong about the whole, or the reverse. Reduction: weighted sum over samples and regions,
divided by samples * regions.

What is compared is KD (T^2 * KL, the default, with 0.1 CE + 0.9 at T = 4), DKD (published with CE 1, weight 1, alpha 1,
beta 8, T 4) or NKD (beta is its gamma). The linear warm-up of DKD and NKD is 20 of 240 epochs, kept as a share so that
it carries over to recipes of other lengths; the KD variant has none. The authors' NKD leaves the label among the
non-target classes by a slip of its mask; here it is left out, as in the papers of NKD and of this method, unless
`label_kept` asks for the authors' numbers.

The authors pool the coarse grids from the 4x4 one, which is the same wherever a side is a multiple of 4. Levels with
more cells than one of the maps has positions are left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Classifier, Method, Needs, Output, Paper, Probe, Terms, lacking
from methods._logits import divergence, of_target, target_and_rest, warmed_up, without_target
from methods._settings import Bound, LogUniform, NonNegative, Positive

LEVELS = (1, 2, 4)


def spatial_pyramid(maps: Tensor, levels: tuple[int, ...] = LEVELS) -> Tensor:
    """Averages over the cells of each level's grid, row by row, level after level.  [N, D, H, W] -> [N, D, regions]."""
    finest = max(4, *levels)
    cells = F.adaptive_avg_pool2d(maps, finest)
    return torch.cat([F.adaptive_avg_pool2d(cells, level).flatten(2) for level in levels], dim=2)


def region_logits(
    pooled: Tensor, classifier: Classifier, levels: tuple[int, ...] = LEVELS
) -> Tensor:
    """What a network's classifier says of each region.  [N, D, H, W] -> [N, classes, regions]."""
    return classifier(spatial_pyramid(pooled, levels).transpose(1, 2)).transpose(1, 2)


def consistency_weights(teacher: Tensor, labels: Tensor) -> Tensor:
    """2 where a region, but not the whole, or the whole, but not the region, is classified correctly; otherwise 1.

    teacher: region logits [N, classes, regions], the whole first; labels: [N] -> [N, regions].
    """
    right = teacher.detach().argmax(dim=1) == labels[:, None]
    return 1 + (right != right[:, :1]).to(teacher.dtype)


def sdd_kd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> Tensor:
    """T^2 * KL of each region.  Region logits [N, classes, regions] each, [N] -> scalar. Teacher without gradient."""
    rows_s, rows_t, _ = _rows(student, teacher, labels)
    return _mean(divergence(rows_s, rows_t, temperature) * temperature**2, teacher, labels)


def sdd_dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Decoupled KD of each region: T^2 * (alpha * KL of label and rest + beta * KL among the rest).

    Region logits [N, classes, regions] each, labels [N] -> scalar. No gradient reaches the teacher.
    """
    rows_s, rows_t, at = _rows(student, teacher, labels)
    rows_s, rows_t = rows_s / temperature, rows_t / temperature
    label = divergence(target_and_rest(rows_s, at), target_and_rest(rows_t, at))
    rest = divergence(without_target(rows_s, at), without_target(rows_t, at))
    return _mean((alpha * label + beta * rest) * temperature**2, teacher, labels)


def sdd_nkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    gamma: float = 1.5,
    temperature: float = 1.0,
    label_kept: bool = False,
) -> Tensor:
    """Normalised KD of each region: -p_t log p_s at the label, gamma * T^2 * cross-entropy among the rest.

    label_kept: whether the label counts among the rest as well, as in the authors' code.
    Region logits [N, classes, regions] each, labels [N] -> scalar. No gradient reaches the teacher.
    """
    rows_s, rows_t, at = _rows(student, teacher, labels)
    label = of_target(F.softmax(rows_t, dim=1), at) * of_target(F.log_softmax(rows_s, dim=1), at)
    if not label_kept:
        rows_s, rows_t = without_target(rows_s, at), without_target(rows_t, at)
    rest = (
        F.softmax(rows_t / temperature, dim=1) * F.log_softmax(rows_s / temperature, dim=1)
    ).sum(dim=1)
    return _mean(-label - gamma * temperature**2 * rest, teacher, labels)


def _rows(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N * regions, classes], twice, and the label of each row."""
    rows = (one.transpose(1, 2).flatten(0, 1) for one in (student, teacher.detach()))
    return (*rows, labels.repeat_interleave(student.shape[2]))  # type: ignore[return-value]


def _mean(losses: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return (consistency_weights(teacher, labels).flatten() * losses).mean()


class ScaleDecoupled(Method):
    """The student's prediction for each region of the image follows the teacher's."""

    paper = Paper("Scale Decoupled Distillation", "Wei et al.", "CVPR", 2024, "arXiv:2403.13512")
    formula = "mean over regions of w * T^2 * KL(teacher || student), w = 2 where region and whole disagree"
    needs = Needs(pooled=True, classifier=True)

    def __init__(
        self,
        variant: Literal["kd", "dkd", "nkd"] = "kd",
        finest: Literal[1, 2, 4] = 4,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        alpha: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        beta: Annotated[float, NonNegative, LogUniform(0.8, 80.0)] = 8.0,
        warm_up: Annotated[float, Bound(0, 1)] = 1 / 12,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.variant, self.temperature, self.alpha, self.beta = variant, temperature, alpha, beta
        self.warm_up, self.weight, self.ce = warm_up, weight, ce
        self.levels = tuple(level for level in LEVELS if level <= finest)

    def supports(self, probe: Probe) -> str | None:
        """Needs of both networks a map before the average over positions, and a classifier on that average."""
        for side, shapes in (("student", probe.student), ("teacher", probe.teacher)):
            for what in ("pooled", "classifier"):
                if not getattr(shapes, what):
                    return lacking(probe, side, what)
        return super().supports(probe)

    def build(self, probe: Probe) -> None:
        """Leaves out the levels that do not fit."""
        side = min(*probe.student.pooled[1:], *probe.teacher.pooled[1:])
        self.levels = tuple(level for level in self.levels if level <= side)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `sdd`."""
        regions = []
        for network in (student, teacher):
            assert network.pooled is not None
            assert network.classifier is not None
            regions.append(region_logits(network.pooled, network.classifier, self.levels))
        given, weight = (
            (regions[0], regions[1], batch.labels),
            self.weight * warmed_up(batch, self.warm_up),
        )
        if self.variant == "dkd":
            return {"sdd": (weight, sdd_dkd_loss(*given, self.alpha, self.beta, self.temperature))}
        if self.variant == "nkd":
            return {"sdd": (weight, sdd_nkd_loss(*given, self.beta, self.temperature))}
        return {"sdd": (self.weight, sdd_kd_loss(*given, self.temperature))}
