"""Similarity preserving. Tung & Mori, ICCV 2019, arXiv:1907.09682, section 3.

Reduction: sum of squared differences of the two N x N matrices, over N^2, as in the paper and RepDistiller, whose
weight this is. Rows have unit Euclidean length; torchdistill gives them unit L1 length by a slip of arguments, up to
six times smaller. Of the last map, all channels and positions; `tap: embedding` takes the pooled feature instead, where
networks have no maps.

Depends on the batch: the value halves when the batch is doubled by copies, so the published weight, found with 64,
is scaled by the batch size / 64.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import LogUniform, NonNegative


def similarity(features: Tensor) -> Tensor:
    """Inner products of all pairs of samples, rows scaled to unit length.  [N, ...] -> [N, N]."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two similarity matrices.

    student, teacher: [N, ...], of any shape each -> scalar. No gradient reaches the teacher.
    """
    return (similarity(student) - similarity(teacher.detach())).pow(2).mean()


class SimilarityPreserving(Method):
    """Samples that are alike for the teacher are alike for the student."""

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
        self.weight, self.tap, self.ce = weight, tap, ce
        self.scale = 1.0

    def tapped(self) -> Needs:
        """Maps, or the embedding."""
        return Needs(embedding=True) if self.tap == "embedding" else self.needs

    def build(self, probe: Probe) -> None:
        """Takes the batch size, which the weight depends on."""
        self.scale = probe.batch_size / 64

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `sp`."""
        return {
            "sp": (self.weight * self.scale, similarity_loss(self._of(student), self._of(teacher)))
        }

    def _of(self, output: Output) -> Tensor:
        if self.tap == "map":
            return output.maps[-1]
        assert output.embedding is not None
        return output.embedding
