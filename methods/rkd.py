"""Relational knowledge distillation. Park, Kim, Lu & Cho, CVPR 2019, arXiv:1904.05068.

Reduction (sections 3.2.1 and 3.2.2): smooth L1 (beta 1), mean over all N^2 pairs and all N^3
triples, including the trivial ones. Distances are divided by their mean over pairs of different
samples, through which the gradient flows. Weights 25 and 50 are RepDistiller's and mdistiller's for
classification; the authors use 1 and 2 for metric learning, with the same reduction.

The loss depends on the batch in no simple way (it grows by a twentieth when every sample is
duplicated). `rank_loss` is DarkRank, the authors' baseline, which is a loss on the same distances.

Settings: public code of others (RepDistiller and mdistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Terms
from methods._features import embeddings


def distances(features: Tensor, eps: float = 1e-12) -> Tensor:
    """Compute Euclidean distances of all pairs of samples.

    Args:
        features: Embeddings [N, D].
        eps: Smallest squared distance of two different samples.

    Returns:
        Distances [N, N], with zeros on the diagonal.
    """
    squares = (features[None] - features[:, None]).pow(2).sum(dim=2).clamp(min=eps)
    diagonal = torch.eye(len(features), dtype=features.dtype, device=features.device)
    return squares.sqrt() * (1 - diagonal)


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare pairwise distances, divided by their mean (section 3.2.1).

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.

    Returns:
        Scalar: smooth L1, mean over pairs.
    """
    return F.smooth_l1_loss(_relative(distances(student)), _relative(distances(teacher.detach())))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the cosines of the angles in all triangles of samples (section 3.2.2).

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.

    Returns:
        Scalar: smooth L1, mean over triples.
    """
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher.detach()))


def relational_loss(
    student: Tensor, teacher: Tensor, distance: float = 25.0, angle: float = 50.0
) -> Tensor:
    """Compute the weighted sum of `distance_loss` and `angle_loss`.

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.
        distance: Weight of the distances.
        angle: Weight of the angles.

    Returns:
        Scalar.
    """
    return distance * distance_loss(student, teacher) + angle * angle_loss(student, teacher)


def rank_loss(
    student: Tensor, teacher: Tensor, alpha: float = 3.0, beta: float = 3.0, length: int = 4
) -> Tensor:
    """Compute how unlikely the student is to rank each sample's neighbours as the teacher does.

    The score of a neighbour is -alpha * distance^beta.

    Args:
        student: Embeddings [N, D], of unit length as in the authors' use.
        teacher: Embeddings [N, D'], of unit length as in the authors' use; without a gradient.
        alpha: Factor of the score.
        beta: Exponent of the score.
        length: Number of the teacher's nearest neighbours to rank.

    Returns:
        Scalar: negative log-likelihood, mean over samples.
    """
    scores = -alpha * distances(student).pow(beta)
    target_scores = -alpha * distances(teacher.detach()).pow(beta)
    order = target_scores.sort(dim=1, descending=True).indices[:, 1 : length + 1]

    ranked = scores.gather(1, order)
    rest = ranked.flip(1).logcumsumexp(dim=1).flip(1)
    return (rest - ranked).sum(dim=1).mean()


class RelationalKnowledgeDistillation(Method):
    """Keep the teacher's distances between samples, and its angles in triangles of samples.

    Args:
        distance: Weight of the distances.
        angle: Weight of the angles.
    """

    paper = Paper(
        "Relational Knowledge Distillation", "Park et al.", "CVPR", 2019, "arXiv:1904.05068"
    )
    formula = (
        "25 smoothL1(d_student, d_teacher) + 50 smoothL1(cos_student, cos_teacher) "
        "over pairs and triples"
    )
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
        self.distance = distance
        self.angle = angle
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `distance` and `angle`."""
        pair = embeddings(student, teacher)
        return {
            "distance": (self.distance, distance_loss(*pair)),
            "angle": (self.angle, angle_loss(*pair)),
        }


def _relative(pairs: Tensor) -> Tensor:
    """Divide distances by their mean over pairs of different samples."""
    count = len(pairs)
    return pairs * (max(count * (count - 1), 1) / pairs.sum().clamp(min=1e-12))


def _cosines(features: Tensor) -> Tensor:
    directions = F.normalize(features[None] - features[:, None], dim=2)
    return torch.bmm(directions, directions.transpose(1, 2))
