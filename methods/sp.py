"""Similarity preserving. Tung & Mori, ICCV 2019, arXiv:1907.09682, section 3.

Reduction: sum of squared differences of the two N x N matrices, divided by N^2, as in the paper and
RepDistiller, the source of the weight. Rows have unit Euclidean length; torchdistill gives them
unit L1 length because of an error in the arguments, which makes the loss up to six times smaller.
The last map is compared, with all channels and positions; `tap: embedding` uses the pooled feature
instead, for networks without maps.

The loss depends on the batch: it halves when every sample is duplicated, so the published weight,
found with batches of 64, is scaled by the batch size / 64.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms


def similarity(features: Tensor) -> Tensor:
    """Compute inner products of all pairs of samples, with rows scaled to unit length.

    Args:
        features: Features [N, ...].

    Returns:
        Similarities [N, N].
    """
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare two similarity matrices.

    Args:
        student: Features [N, ...].
        teacher: Features [N, ...]; no gradient reaches them.

    Returns:
        Scalar: mean squared difference.
    """
    return (similarity(student) - similarity(teacher.detach())).pow(2).mean()


class SimilarityPreserving(Method):
    """Let samples be as similar for the student as they are for the teacher.

    Args:
        weight: Weight of the term at a batch size of 64.
        tap: Whether to compare the last map or the embedding.
    """

    paper = Paper(
        "Similarity-Preserving Knowledge Distillation",
        "Tung & Mori",
        "ICCV",
        2019,
        "arXiv:1907.09682",
    )
    formula = "mean (G_student - G_teacher)^2, G = F F^T of the batch with rows of unit length"
    needs = Needs(maps=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(300.0, 30000.0)] = 3000.0,
        tap: Literal["map", "embedding"] = "map",
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.tap = tap
        self.ce = ce

        self.scale = 1.0

    def tapped(self) -> Needs:
        """Return the need for maps, or for the embedding if `tap` is set to it."""
        return Needs(embedding=True) if self.tap == "embedding" else self.needs

    def build(self, probe: Probe) -> None:
        """Scale the weight by the batch size."""
        self.scale = probe.batch_size / 64

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `sp`."""
        loss = similarity_loss(self._features_of(student), self._features_of(teacher))
        return {"sp": (self.weight * self.scale, loss)}

    def _features_of(self, output: Output) -> Tensor:
        if self.tap == "map":
            return output.maps[-1]
        assert output.embedding is not None
        return output.embedding
