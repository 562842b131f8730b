"""DIST. Huang et al., NeurIPS 2022, arXiv:2205.10536, section 4.

Reduction: 1 - Pearson correlation, mean over samples (inter: between a sample's class probabilities) or over classes
(intra: between a class's probabilities in the batch), times T^2. The factor T^2 is in the authors' code and not in the
paper. The correlation's denominator is |a||b| + 1e-8 as in that code; torchdistill takes the larger of the two instead
(up to 1.5e-3 apart with extreme logits). So the gradient of constant logits, as of a classifier that starts at zero,
is finite but millions of times the usual, here as there. Weight 2 for the sum is that of all the authors'
configurations; T = 4 is that of CIFAR-100, ImageNet takes T = 1. The intra part compares within a batch, but its size
does not change with it. DIST+, which adds relations of channels, is left out: its only public code rewards channels
that disagree.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative, Positive


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson correlation of each row with its counterpart; 0 where one is constant.  [N, D] each -> [N]."""
    one, other = (rows - rows.mean(dim=1, keepdim=True) for rows in (one, other))
    size: Tensor = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    return (one * other).sum(dim=1) / (size + 1e-8)


def inter_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 * (1 - correlation over classes), mean over samples.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    p_student, p_teacher = _softened(student, teacher, temperature)
    return (1 - correlation(p_student, p_teacher).mean()) * temperature**2


def intra_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 * (1 - correlation over samples), mean over classes.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    p_student, p_teacher = _softened(student, teacher, temperature)
    return (1 - correlation(p_student.T, p_teacher.T).mean()) * temperature**2


def dist_loss(
    student: Tensor,
    teacher: Tensor,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """The sum beta * inter + gamma * intra.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    return beta * inter_loss(student, teacher, temperature) + gamma * intra_loss(
        student, teacher, temperature
    )


def _softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return F.softmax(student / temperature, dim=1), F.softmax(teacher.detach() / temperature, dim=1)


class Dist(Method):
    """Student's and teacher's probabilities need not be equal, they must rise and fall together."""

    paper = Paper(
        "Knowledge Distillation from A Stronger Teacher",
        "Huang et al.",
        "NeurIPS",
        2022,
        "arXiv:2205.10536",
    )
    formula = "T^2 * (beta * (1 - corr over classes) + gamma * (1 - corr over the batch))"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.2, 20.0)] = 2.0,
        beta: Annotated[float, NonNegative] = 1.0,
        gamma: Annotated[float, NonNegative] = 1.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.beta, self.gamma, self.temperature, self.ce = (
            weight,
            beta,
            gamma,
            temperature,
            ce,
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `inter` and `intra`."""
        given = (student.logits, teacher.logits, self.temperature)
        return {
            "inter": (self.weight * self.beta, inter_loss(*given)),
            "intra": (self.weight * self.gamma, intra_loss(*given)),
        }
