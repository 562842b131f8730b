"""DIST. Huang et al., NeurIPS 2022, arXiv:2205.10536, section 4.

Reduction: 1 - Pearson correlation, mean over samples (inter: between the class probabilities of a
sample) or over classes (intra: between the probabilities of a class in the batch), times T^2. The
factor T^2 is in the authors' code and not in the paper. The correlation's denominator is |a||b| +
1e-8, as in that code; torchdistill takes the larger of the two instead (with extreme logits, the
results are up to 1.5e-3 apart). The gradient of constant logits, such as those of a
zero-initialised classifier, is therefore finite but millions of times larger than usual, as in that
code.

All of the authors' configurations use weight 2 for the sum, with T = 4 for CIFAR-100 and T = 1 for
ImageNet. The intra part compares samples of a batch, but its scale does not depend on the batch
size. DIST+, which adds relations of channels, is not included: its only public code rewards
channels that disagree.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compute the Pearson correlation of each row with its counterpart.

    Args:
        first: Rows [N, D].
        second: Their counterparts [N, D].

    Returns:
        Correlations [N]; 0 where a row is constant.
    """
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    size: Tensor = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return (first * second).sum(dim=1) / (size + 1e-8)


def inter_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute T^2 * (1 - correlation over classes).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over samples.
    """
    p_student, p_teacher = _softened(student, teacher, temperature)
    return (1 - correlation(p_student, p_teacher).mean()) * temperature**2


def intra_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute T^2 * (1 - correlation over samples).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over classes.
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
    """Compute beta * inter + gamma * intra.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        beta: Weight of `inter_loss`.
        gamma: Weight of `intra_loss`.
        temperature: Softmax temperature T.

    Returns:
        Scalar.
    """
    inter = inter_loss(student, teacher, temperature)
    intra = intra_loss(student, teacher, temperature)
    return beta * inter + gamma * intra


def _softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return F.softmax(student / temperature, dim=1), F.softmax(teacher.detach() / temperature, dim=1)


class Dist(Method):
    """Let the student's probabilities rise and fall with the teacher's instead of equalling them.

    Args:
        weight: Weight of the sum.
        beta: Weight of the relation between classes, within the sum.
        gamma: Weight of the relation between samples, within the sum.
        temperature: Softmax temperature T.
    """

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
        self.weight = weight
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `inter` and `intra`."""
        inputs = (student.logits, teacher.logits, self.temperature)
        return {
            "inter": (self.weight * self.beta, inter_loss(*inputs)),
            "intra": (self.weight * self.gamma, intra_loss(*inputs)),
        }
