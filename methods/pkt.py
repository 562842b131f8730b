"""Probabilistic knowledge transfer. Passalis & Tefas, ECCV 2018, arXiv:1803.10837, section 3.

The kernel is the cosine. Reduction: t log(t / s), averaged over all N x N pairs, including the
diagonal, as in RepDistiller, the source of the weight; 1e-7 is added to norms and probabilities
(1e-6 in Knowledge-Distillation-Zoo). A sample whose features are all zero has a finite gradient
here, but not there.

The loss depends on the batch: it halves when every sample is duplicated, so the published weight,
found with batches of 64, is scaled by the batch size / 64.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms
from methods._features import embeddings


def affinities(features: Tensor, eps: float = 1e-7) -> Tensor:
    """Compute the cosines of all pairs of samples, mapped to [0, 1].

    Args:
        features: Embeddings [N, D].
        eps: Constant added to the length of a row.

    Returns:
        Affinities [N, N]; each row sums to 1.
    """
    unit: Tensor = features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + eps)
    affinity = (unit @ unit.T).add(1).div(2)
    return affinity / affinity.sum(dim=1, keepdim=True)


def transfer_loss(student: Tensor, teacher: Tensor, eps: float = 1e-7) -> Tensor:
    """Compare the conditional probabilities of pairs of samples.

    Args:
        student: Embeddings [N, D].
        teacher: Embeddings [N, D']; no gradient reaches them.
        eps: Constant added to lengths and probabilities.

    Returns:
        Scalar: KL divergence of the student from the teacher, mean over all pairs.
    """
    own, others = affinities(student, eps), affinities(teacher.detach(), eps)
    return (others * ((others + eps) / (own + eps)).log()).mean()


class ProbabilisticKnowledgeTransfer(Method):
    """Match the student's probabilities of neighbouring samples to the teacher's.

    Args:
        weight: Weight of the term at a batch size of 64.
    """

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
        self.weight = weight
        self.ce = ce

        self.scale = 1.0

    def build(self, probe: Probe) -> None:
        """Scale the weight by the batch size."""
        self.scale = probe.batch_size / 64

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `pkt`."""
        loss = transfer_loss(*embeddings(student, teacher))
        return {"pkt": (self.weight * self.scale, loss)}
