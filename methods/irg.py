"""Instance relationship graph (IRG). Liu et al., CVPR 2019, no preprint.

Three mean squared errors: of logits (the graph's vertices); of squared distances between samples,
divided by the largest one, in the embedding and in the two deepest stages (its edges, mean of the
three); and of the squared distance from each sample's map at one of these stages to its map at the
other, divided by the batch's largest (its transformation). Where these maps differ in shape, the
larger is average-pooled, and neighbouring channels of the wider one are averaged.

This is the version of Knowledge-Distillation-Zoo, with its weights 0.1, 5 and 5. The SemCKD
repository has another version, in which transformations are compared too, weighted 0.005. The
largest distance in a batch depends on the batch size in no simple way.

Settings: public code of others (Knowledge-Distillation-Zoo), not the authors'.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms
from methods._adapters import pooled_alike
from methods._features import embeddings

EPSILON = 1e-12


def vertex_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare logits.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.

    Returns:
        Scalar: mean squared error.
    """
    return F.mse_loss(student, teacher.detach())


def distances(features: Tensor) -> Tensor:
    """Compute squared distances between samples, divided by the largest: [N, ...] -> [N, N]."""
    rows = features.flatten(1)
    squares = rows.pow(2).sum(dim=1)
    squared = (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(EPSILON)
    squared = squared * (1 - torch.eye(len(rows), dtype=rows.dtype, device=rows.device))

    return squared / squared.amax().clamp_min(EPSILON)


def edge_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the distances between samples.

    Args:
        student: Features [N, ...].
        teacher: Features [N, ...]; no gradient reaches them.

    Returns:
        Scalar: mean squared error.
    """
    return F.mse_loss(distances(student), distances(teacher.detach()))


def transformation(first: Tensor, second: Tensor) -> Tensor:
    """Compute the squared distance of each sample's two maps, divided by the largest.

    Args:
        first: Map [N, C, H, W].
        second: Map [N, C', H', W'].

    Returns:
        Distances [N].
    """
    width = min(first.shape[1], second.shape[1])
    first, second = pooled_alike(first, second)

    difference = _narrowed(first, width) - _narrowed(second, width)
    squared = difference.flatten(1).pow(2).sum(dim=1).clamp_min(EPSILON)
    return squared / squared.amax()


def transformation_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Compare the transformations between two stages.

    Args:
        student: Maps of two stages.
        teacher: Maps of two stages; no gradient reaches them.

    Returns:
        Scalar: mean squared error.
    """
    target = transformation(teacher[0].detach(), teacher[1].detach())
    return F.mse_loss(transformation(student[0], student[1]), target)


def _narrowed(maps: Tensor, width: int) -> Tensor:
    """Average neighbouring channels: [N, C, H, W] -> [N, width, H, W]."""
    if maps.shape[1] == width:
        return maps

    # The gradient of adaptive pooling is not deterministic on a GPU.
    if maps.shape[1] % width == 0:
        groups: Tensor = maps.unflatten(1, (width, -1))
        return groups.mean(dim=2)

    channels_last = maps.flatten(2).transpose(1, 2)
    narrowed: Tensor = F.adaptive_avg_pool1d(channels_last, width).transpose(1, 2)
    return narrowed.reshape(len(maps), width, *maps.shape[2:])


class InstanceRelationshipGraph(Method):
    """Place samples relative to each other, and move them between stages, as the teacher does.

    Args:
        vertex: Weight of the comparison of logits.
        edge: Weight of the comparison of distances between samples.
        transform: Weight of the comparison of distances between stages.
    """

    paper = Paper(
        "Knowledge Distillation via Instance Relationship Graph",
        "Liu et al.",
        "CVPR",
        2019,
        "openaccess.thecvf.com/content_CVPR_2019/papers/"
        "Liu_Knowledge_Distillation_via_Instance_Relationship_Graph_CVPR_2019_paper.pdf",
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
        self.vertex = vertex
        self.edge = edge
        self.transform = transform
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require two stages."""
        reason = super().supports(probe)
        if reason is None and min(len(probe.student.maps), len(probe.teacher.maps)) < 2:
            reason = "a single stage: there is no transformation from one to another"
        return reason

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return three terms: `vertex`, `edge` and `transform`."""
        features, targets = embeddings(student, teacher)
        early, late = student.maps[-2:]
        early_target, late_target = teacher.maps[-2:]

        edges = [
            edge_loss(features, targets),
            edge_loss(early, early_target),
            edge_loss(late, late_target),
        ]
        moves = transformation_loss((early, late), (early_target, late_target))
        return {
            "vertex": (self.vertex, vertex_loss(student.logits, teacher.logits)),
            "edge": (self.edge, torch.stack(edges).mean()),
            "transform": (self.transform, moves),
        }
