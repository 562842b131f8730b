"""Instance relationship graph (IRG). Liu et al., CVPR 2019, no preprint.

Three mean squared errors: of logits (the graph's vertices), of squared distances between samples, divided by the
largest one, in the embedding and in the two deepest stages (its edges, mean of the three), and of the squared distance
from each sample's map at the one stage to its map at the other, divided by the batch's largest (its transformation).
Where two stages differ, the larger map is average-pooled and the wider one's neighbouring channels are averaged.

This is the Knowledge-Distillation-Zoo's reading, with its weights 0.1, 5 and 5; the SemCKD repository has another, in
which transformations are compared too, weighted 0.005. The batch's largest distance depends on its size in no simple
way.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import LogUniform, NonNegative

EPSILON = 1e-12


def vertex_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of logits.  [N, classes] each -> scalar. No gradient reaches the teacher."""
    return F.mse_loss(student, teacher.detach())


def distances(features: Tensor) -> Tensor:
    """Squared distances between samples, divided by the largest.  [N, ...] -> [N, N]."""
    rows = features.flatten(1)
    squares = rows.pow(2).sum(dim=1)
    found = (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(EPSILON)
    found = found * (1 - torch.eye(len(rows), dtype=rows.dtype, device=rows.device))
    return found / found.amax().clamp_min(EPSILON)


def edge_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the samples' distances.  [N, ...] each -> scalar. No gradient reaches the teacher."""
    return F.mse_loss(distances(student), distances(teacher.detach()))


def transformation(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of each sample's two maps, divided by the largest.  [N, C, H, W], [N, C', H', W'] -> [N]."""
    width = min(first.shape[1], second.shape[1])
    first, second = (_narrowed(one, width) for one in pooled_alike(first, second))
    found = (first - second).flatten(1).pow(2).sum(dim=1).clamp_min(EPSILON)
    return found / found.amax()


def transformation_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared error of `transformation` between two stages.  Two maps each -> scalar. Teacher without gradient."""
    known = transformation(teacher[0].detach(), teacher[1].detach())
    return F.mse_loss(transformation(student[0], student[1]), known)


def _narrowed(maps: Tensor, width: int) -> Tensor:
    """Averages of neighbouring channels.  [N, C, H, W] -> [N, width, H, W]."""
    if maps.shape[1] == width:
        return maps
    channels_last = maps.flatten(2).transpose(1, 2)
    narrowed: Tensor = F.adaptive_avg_pool1d(channels_last, width).transpose(1, 2)
    return narrowed.reshape(len(maps), width, *maps.shape[2:])


class InstanceRelationshipGraph(Method):
    """Samples lie to each other, and move from stage to stage, as they do in the teacher."""

    paper = Paper(
        "Knowledge Distillation via Instance Relationship Graph",
        "Liu et al.",
        "CVPR",
        2019,
        "openaccess.thecvf.com/content_CVPR_2019/papers/Liu_Knowledge_Distillation_via_Instance_Relationship_Graph_CVPR_2019_paper.pdf",
    )
    formula = (
        "MSE of logits + MSE of distances between samples + MSE of distances from stage to stage"
    )
    needs = Needs(logits=True, embedding=True, maps=True)
    minimum = 0.0
    assumes_batch = 64

    def __init__(
        self,
        vertex: Annotated[float, NonNegative, LogUniform(0.01, 1.0)] = 0.1,
        edge: Annotated[float, NonNegative, LogUniform(0.5, 50.0)] = 5.0,
        transform: Annotated[float, NonNegative, LogUniform(0.5, 50.0)] = 5.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.vertex, self.edge, self.transform, self.ce = vertex, edge, transform, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs two stages."""
        reason = super().supports(probe)
        if reason is None and min(len(probe.student.maps), len(probe.teacher.maps)) < 2:
            reason = "a single stage: there is no transformation from one to another"
        return reason

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Three terms: `vertex`, `edge` and `transform`."""
        assert student.embedding is not None
        assert teacher.embedding is not None
        early, late = student.maps[-2:]
        known_early, known_late = teacher.maps[-2:]
        pairs = ((student.embedding, teacher.embedding), (early, known_early), (late, known_late))
        return {
            "vertex": (self.vertex, vertex_loss(student.logits, teacher.logits)),
            "edge": (
                self.edge,
                torch.stack([edge_loss(one, known) for one, known in pairs]).mean(),
            ),
            "transform": (
                self.transform,
                transformation_loss((early, late), (known_early, known_late)),
            ),
        }
