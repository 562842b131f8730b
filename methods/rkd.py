"""Relational knowledge distillation. Park, Kim, Lu & Cho, CVPR 2019, arXiv:1904.05068, sections 3.2.1 and 3.2.2.

Reduction: smooth L1 (beta 1), mean over all N^2 pairs and all N^3 triples, the trivial ones among them. Distances are
divided by their mean over different samples, which has a gradient. Weights 25 and 50 are RepDistiller's and
mdistiller's for classification; the authors use 1 and 2 for metric learning, with the same reduction.

Depends on the batch in no simple way (the value grows by a twentieth when the batch is doubled by copies).
`rank_loss` is DarkRank, the authors' baseline, which is a loss of the same distances.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._features import embeddings
from methods._settings import LogUniform, NonNegative


def distances(features: Tensor, eps: float = 1e-12) -> Tensor:
    """Euclidean distances of all pairs; at least sqrt(eps) where samples differ.  [N, D] -> [N, N]."""
    squares = (features[None] - features[:, None]).pow(2).sum(dim=2).clamp(min=eps)
    return squares.sqrt() * (
        1 - torch.eye(len(features), dtype=features.dtype, device=features.device)
    )


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the pairwise distances, each over their mean.

    student: [N, D], teacher: [N, D'] -> scalar, mean over pairs. No gradient reaches the teacher.
    """
    return F.smooth_l1_loss(_relative(distances(student)), _relative(distances(teacher.detach())))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between the cosines of the angles in all triangles of samples.

    student: [N, D], teacher: [N, D'] -> scalar, mean over triples. No gradient reaches the teacher.
    """
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher.detach()))


def relational_loss(
    student: Tensor, teacher: Tensor, distance: float = 25.0, angle: float = 50.0
) -> Tensor:
    """Sum of `distance_loss` and `angle_loss` with these weights.  student: [N, D], teacher: [N, D'] -> scalar."""
    return distance * distance_loss(student, teacher) + angle * angle_loss(student, teacher)


def rank_loss(
    student: Tensor, teacher: Tensor, alpha: float = 3.0, beta: float = 3.0, length: int = 4
) -> Tensor:
    """Negative log-likelihood, mean over samples, that the student ranks each one's neighbours as the teacher does.

    Scores are -alpha * distance^beta, of the teacher's `length` nearest neighbours.  student: [N, D], teacher: [N, D'],
    of unit length in the authors' use -> scalar. No gradient reaches the teacher.
    """
    scores, wanted = (-alpha * distances(one).pow(beta) for one in (student, teacher.detach()))
    order = wanted.sort(dim=1, descending=True).indices[:, 1 : length + 1]
    ranked = scores.gather(1, order)
    rest = ranked.flip(1).logcumsumexp(dim=1).flip(1)
    return (rest - ranked).sum(dim=1).mean()


class RelationalKnowledgeDistillation(Method):
    """Distances between samples, and angles in triangles of samples, are those of the teacher."""

    paper = Paper(
        "Relational Knowledge Distillation", "Park et al.", "CVPR", 2019, "arXiv:1904.05068"
    )
    formula = "25 smoothL1(d_student, d_teacher) + 50 smoothL1(cos_student, cos_teacher) over pairs and triples"
    needs = Needs(embedding=True)
    minimum = 0.0
    assumes_batch = 64

    def __init__(
        self,
        distance: Annotated[float, NonNegative, LogUniform(2.5, 250.0)] = 25.0,
        angle: Annotated[float, NonNegative, LogUniform(5.0, 500.0)] = 50.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.distance, self.angle, self.ce = distance, angle, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `distance` and `angle`."""
        pair = embeddings(student, teacher)
        return {
            "distance": (self.distance, distance_loss(*pair)),
            "angle": (self.angle, angle_loss(*pair)),
        }


def _relative(pairs: Tensor) -> Tensor:
    count = len(pairs)
    return pairs * (max(count * (count - 1), 1) / pairs.sum().clamp(min=1e-12))


def _cosines(features: Tensor) -> Tensor:
    directions = F.normalize(features[None] - features[:, None], dim=2)
    return torch.bmm(directions, directions.transpose(1, 2))
