"""Simple recipe distillation (SRD). Miles & Mikolajczyk, AAAI 2024, arXiv:2303.11098.

The student's embedding goes through a linear layer to the teacher's size, and both are normalised
by a BatchNorm without scale and shift. Reduction: 2 * natural logarithm of the sum, over samples
and features, of |difference|^4; and KL of logits, summed over classes, mean over the batch. Because
of the logarithm, a larger batch only adds a constant, so the gradient does not depend on the batch
size. The logarithm has no minimum; if the two embeddings are identical, its value is that at the
smallest positive number, without a gradient.

Settings: public code of others (torchdistill's sample configuration).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Probe,
    Terms,
    Uniform,
)
from methods._features import embeddings
from methods._logits import divergence


def log_distance(student: Tensor, teacher: Tensor, exponent: float = 4.0) -> Tensor:
    """Compute 2 * log(sum |student - teacher|^exponent).

    Args:
        student: Normalised embeddings [N, D].
        teacher: Normalised embeddings [N, D]; no gradient reaches them.
        exponent: Exponent of the differences, at least 1.

    Returns:
        Scalar.
    """
    difference = (student - teacher.detach()).abs()

    # Scaled by the largest difference, the sum neither overflows nor underflows.
    tiny = torch.finfo(difference.dtype).tiny
    largest = difference.detach().amax().clamp_min(tiny)
    total = (difference / largest).pow(exponent).sum().clamp_min(tiny)
    return 2 * (exponent * largest.log() + total.log())


def kl_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute KL(softmax(teacher / T) || softmax(student / T)), without T^2.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    return divergence(student, teacher.detach(), temperature).mean()


class SimpleRecipe(Method):
    """Let a normalised linear projection of the student's embedding imitate the teacher's.

    Args:
        weight: Weight of the comparison of embeddings.
        exponent: Exponent of their difference.
        kl: Weight of the comparison of logits.
        temperature: T of the comparison of logits.
    """

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
        self.weight = weight
        self.exponent = exponent
        self.kl = kl
        self.temperature = temperature
        self.ce = ce

        self.projector: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make the projector and both normalisations."""
        (source,), (target,) = probe.student.embedding, probe.teacher.embedding
        linear = nn.Linear(source, target)
        self.projector = nn.Sequential(linear, nn.BatchNorm1d(target, affine=False))
        self.norm = nn.BatchNorm1d(target, affine=False)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms: `srd`, of embeddings, and `kl`, of logits."""
        features, targets = embeddings(student, teacher)

        distance = log_distance(self.projector(features), self.norm(targets), self.exponent)
        kl = kl_loss(student.logits, teacher.logits, self.temperature)
        return {"srd": (self.weight, distance), "kl": (self.kl, kl)}
