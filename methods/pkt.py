"""Probabilistic knowledge transfer. Passalis & Tefas, ECCV 2018, arXiv:1803.10837, section 3 (cosine kernel).

Reduction: mean over all N x N pairs, the diagonal among them, of t log(t / s), as in RepDistiller, whose weight this
is; 1e-7 is added to norms and probabilities (1e-6 in Knowledge-Distillation-Zoo). A sample whose features are all zero
has a finite gradient here, which it has not there.

Depends on the batch: the value halves when the batch is doubled by copies, so the published weight, found with 64,
is scaled by the batch size / 64.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._features import embeddings
from methods._settings import LogUniform, NonNegative


def affinities(features: Tensor, eps: float = 1e-7) -> Tensor:
    """Cosines of all pairs of samples, moved to 0..1; each row sums to 1.  [N, D] -> [N, N]."""
    unit: Tensor = features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + eps)
    affinity = (unit @ unit.T).add(1).div(2)
    return affinity / affinity.sum(dim=1, keepdim=True)


def transfer_loss(student: Tensor, teacher: Tensor, eps: float = 1e-7) -> Tensor:
    """Divergence of the student's conditional probabilities of pairs from the teacher's, mean over all pairs.

    student: [N, D], teacher: [N, D'] -> scalar. No gradient reaches the teacher.
    """
    given, wanted = affinities(student, eps), affinities(teacher.detach(), eps)
    return (wanted * ((wanted + eps) / (given + eps)).log()).mean()


class ProbabilisticKnowledgeTransfer(Method):
    """The student's neighbourhoods of samples have the teacher's probabilities."""

    paper = Paper(
        "Learning Deep Representations with Probabilistic Knowledge Transfer",
        "Passalis & Tefas",
        "ECCV",
        2018,
        "arXiv:1803.10837",
    )
    formula = (
        "mean over pairs of p_teacher log(p_teacher / p_student), p from cosines of the embeddings"
    )
    needs = Needs(embedding=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(3e3, 3e5)] = 3e4,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.ce = weight, ce
        self.scale = 1.0

    def build(self, probe: Probe) -> None:
        """Takes the batch size, which the weight depends on."""
        self.scale = probe.batch_size / 64

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `pkt`."""
        return {"pkt": (self.weight * self.scale, transfer_loss(*embeddings(student, teacher)))}
