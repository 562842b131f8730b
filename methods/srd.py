"""Simple recipe distillation (SRD). Miles & Mikolajczyk, AAAI 2024, arXiv:2303.11098.

The student's embedding goes through a linear layer to the teacher's size, and both are normalised by a BatchNorm
without scale and shift. Reduction: 2 * log of the sum, over samples and features, of |difference|^4 (natural log), and
KL of logits, summed over classes, mean over the batch. A sum inside the log only adds a constant when the batch grows,
so the gradient does not depend on its size. The log has no lowest value; where there is no difference at all, it is
that of the smallest number there is, without a gradient.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._logits import divergence
from methods._settings import Bound, LogUniform, NonNegative, Positive, Uniform


def log_distance(student: Tensor, teacher: Tensor, exponent: float = 4.0) -> Tensor:
    """2 * log(sum |student - teacher|^exponent), exponent >= 1.  [N, D] each -> scalar. Teacher without gradient."""
    difference = (student - teacher.detach()).abs()
    tiny = torch.finfo(difference.dtype).tiny
    largest = difference.detach().amax().clamp_min(tiny)
    return 2 * (
        exponent * largest.log() + (difference / largest).pow(exponent).sum().clamp_min(tiny).log()
    )


def kl_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)), mean over the batch.  Logits [N, classes] each -> scalar."""
    return divergence(student, teacher.detach(), temperature).mean()


class SimpleRecipe(Method):
    """A normalised linear projection of the student's embedding imitates the teacher's."""

    paper = Paper(
        "Understanding the Role of the Projector in Knowledge Distillation",
        "Miles & Mikolajczyk",
        "AAAI",
        2024,
        "arXiv:2303.11098",
    )
    formula = (
        "2 * log sum |BN(W f_student) - BN(f_teacher)|^4 + KL(softmax(teacher) || softmax(student))"
    )
    needs = Needs(logits=True, embedding=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        exponent: Annotated[float, Bound(low=1.0), Uniform(1.0, 6.0)] = 4.0,
        kl: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.exponent, self.kl, self.temperature, self.ce = (
            weight,
            exponent,
            kl,
            temperature,
            ce,
        )
        self.projector: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Makes the projector and both normalisations."""
        (source,), (target,) = probe.student.embedding, probe.teacher.embedding
        self.projector = nn.Sequential(
            nn.Linear(source, target), nn.BatchNorm1d(target, affine=False)
        )
        self.norm = nn.BatchNorm1d(target, affine=False)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms: `srd`, of embeddings, and `kl`, of logits."""
        assert student.embedding is not None
        assert teacher.embedding is not None
        known = self.norm(teacher.embedding.detach())
        return {
            "srd": (
                self.weight,
                log_distance(self.projector(student.embedding), known, self.exponent),
            ),
            "kl": (self.kl, kl_loss(student.logits, teacher.logits, self.temperature)),
        }
