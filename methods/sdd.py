"""Scale-decoupled distillation. Wei, Luo & Luo, CVPR 2024, arXiv:2403.13512, section 3.

Each region of a network's last map (the whole, its 2x2 and its 4x4 cells) is averaged and fed to
the network's own classifier, and the student's prediction for each region learns from the
teacher's. A region counts twice where the teacher is right about it and wrong about the whole, or
vice versa. Reduction: weighted sum over samples and regions, divided by samples * regions.

The comparison is KD (T^2 * KL, the default, with 0.1 CE + 0.9 at T = 4), DKD (published with CE 1,
weight 1, alpha 1, beta 8, T 4) or NKD (beta is its gamma). The linear warm-up of DKD and NKD lasts
20 of 240 epochs; this length is stored as a fraction so that it carries over to other recipes. The
KD variant has no warm-up. The authors' NKD keeps the label among the non-target classes because of
an error in its mask; here the label is left out, as in the papers of NKD and of this method, unless
`label_kept` is set to reproduce the authors' numbers.

As in the authors' code, the coarse grids are pooled from the 4x4 grid, which is equivalent to
pooling the map if its sides are multiples of 4. Levels that are finer than one of the maps are left
out.

Settings: published by the authors (the code's own defaults), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import (
    Batch,
    Bound,
    Classifier,
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
from methods._adapters import pooled_to
from methods._contract import missing
from methods._logits import divergence, of_target, target_and_rest, warmed_up, without_target

LEVELS = (1, 2, 4)


def spatial_pyramid(maps: Tensor, levels: tuple[int, ...] = LEVELS) -> Tensor:
    """Average over the cells of the grid of each level.

    Args:
        maps: Map [N, D, H, W].
        levels: Cells per side of each grid.

    Returns:
        Averages [N, D, regions]: row by row, level after level.
    """
    finest = max(4, *levels)
    cells = pooled_to(maps, (finest, finest))
    return torch.cat([pooled_to(cells, (level, level)).flatten(2) for level in levels], dim=2)


def region_logits(
    pooled: Tensor, classifier: Classifier, levels: tuple[int, ...] = LEVELS
) -> Tensor:
    """Classify each region of a map: [N, D, H, W] -> [N, classes, regions]."""
    return classifier(spatial_pyramid(pooled, levels).transpose(1, 2)).transpose(1, 2)


def consistency_weights(teacher: Tensor, labels: Tensor) -> Tensor:
    """Return 2 for regions where the teacher is right only there or only on the whole, else 1.

    Args:
        teacher: Region logits [N, classes, regions], the whole first.
        labels: Class labels [N].

    Returns:
        Weights [N, regions].
    """
    right = teacher.detach().argmax(dim=1) == labels[:, None]
    return 1 + (right != right[:, :1]).to(teacher.dtype)


def sdd_kd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> Tensor:
    """Compute T^2 * KL of each region.

    Args:
        student: Region logits [N, classes, regions].
        teacher: Region logits [N, classes, regions]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Scalar: weighted mean over samples and regions.
    """
    own, others, _ = _rows(student, teacher, labels)
    return _mean(divergence(own, others, temperature) * temperature**2, teacher, labels)


def sdd_dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Compute the decoupled KD of each region.

    Args:
        student: Region logits [N, classes, regions].
        teacher: Region logits [N, classes, regions]; no gradient reaches them.
        labels: Class labels [N].
        alpha: Weight of the KL of label and rest.
        beta: Weight of the KL among the rest.
        temperature: Softmax temperature T.

    Returns:
        Scalar: weighted mean over samples and regions, times T^2.
    """
    own, others, row_labels = _rows(student, teacher, labels)
    own, others = own / temperature, others / temperature

    label = divergence(target_and_rest(own, row_labels), target_and_rest(others, row_labels))
    rest = divergence(without_target(own, row_labels), without_target(others, row_labels))
    return _mean((alpha * label + beta * rest) * temperature**2, teacher, labels)


def sdd_nkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    gamma: float = 1.5,
    temperature: float = 1.0,
    label_kept: bool = False,
) -> Tensor:
    """Compute the normalised KD of each region.

    It is -p_t log p_s at the label, and gamma * T^2 * cross-entropy among the rest.

    Args:
        student: Region logits [N, classes, regions].
        teacher: Region logits [N, classes, regions]; no gradient reaches them.
        labels: Class labels [N].
        gamma: Weight of the rest.
        temperature: T of the rest.
        label_kept: Whether the label counts among the rest as well, as in the authors' code.

    Returns:
        Scalar: weighted mean over samples and regions.
    """
    own, others, row_labels = _rows(student, teacher, labels)
    confidence = of_target(F.softmax(others, dim=1), row_labels)
    label = confidence * of_target(F.log_softmax(own, dim=1), row_labels)

    if not label_kept:
        own, others = without_target(own, row_labels), without_target(others, row_labels)
    targets = F.softmax(others / temperature, dim=1)
    rest = (targets * F.log_softmax(own / temperature, dim=1)).sum(dim=1)
    return _mean(-label - gamma * temperature**2 * rest, teacher, labels)


def _rows(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both networks' logits as rows [N * regions, classes], and the label of each row."""
    own = student.transpose(1, 2).flatten(0, 1)
    others = teacher.detach().transpose(1, 2).flatten(0, 1)
    return own, others, labels.repeat_interleave(student.shape[2])


def _mean(losses: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return (consistency_weights(teacher, labels).flatten() * losses).mean()


class ScaleDecoupled(Method):
    """Let the student's prediction for each region of the image follow the teacher's.

    Args:
        variant: Loss that compares predictions.
        finest: Cells per side of the finest grid.
        temperature: Softmax temperature T.
        alpha: Weight of the label in the DKD variant.
        beta: Weight of the other classes in the DKD and NKD variants.
        warm_up: Length of the linear warm-up in those two, as a share of the training.
        weight: Weight of the term.
    """

    paper = Paper("Scale Decoupled Distillation", "Wei et al.", "CVPR", 2024, "arXiv:2403.13512")
    formula = (
        "mean over regions of w * T^2 * KL(teacher || student), "
        "w = 2 where region and whole disagree"
    )
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
        self.variant = variant
        self.changes_by_epoch = variant != "kd"
        self.levels = tuple(level for level in LEVELS if level <= finest)
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta
        self.warm_up = warm_up
        self.weight = weight
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require the pooled map of both networks, and a classifier on its average."""
        shapes = ["pooled", "classifier"]
        reason = missing(probe, "student", shapes) or missing(probe, "teacher", shapes)
        return reason or super().supports(probe)

    def build(self, probe: Probe) -> None:
        """Leave out the levels that do not fit the maps."""
        side = min(*probe.student.pooled[1:], *probe.teacher.pooled[1:])
        self.levels = tuple(level for level in self.levels if level <= side)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `sdd`."""
        own = self._region_logits_of(student)
        others = self._region_logits_of(teacher)
        inputs = (own, others, batch.labels)

        if self.variant == "kd":
            return {"sdd": (self.weight, sdd_kd_loss(*inputs, self.temperature))}
        if self.variant == "dkd":
            loss = sdd_dkd_loss(*inputs, self.alpha, self.beta, self.temperature)
        else:
            loss = sdd_nkd_loss(*inputs, self.beta, self.temperature)
        return {"sdd": (self.weight * warmed_up(batch, self.warm_up), loss)}

    def _region_logits_of(self, network: Output) -> Tensor:
        assert network.pooled is not None
        assert network.classifier is not None
        return region_logits(network.pooled, network.classifier, self.levels)
