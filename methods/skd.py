"""Streamlined knowledge distillation (SKD). Jeong, Lee & Choi, CVPR 2026, no preprint.

Equations 1 and 3 to 8 define two comparisons of logits: of samples, by KL at a temperature, and of
directions, by D = G_student - G_teacher, the difference of the Gram matrices of logits at unit
length. The length of a row of D is its Mahalanobis length under the covariance of D's columns, to
whose diagonal 0.1 is added; the gradient flows through the covariance too. Reductions: KL summed
over classes, mean over the batch, without T^2; mean over the rows of D.

This is the paper's formula. The authors' code multiplies KL by T^2 and restricts it to samples on
which the teacher is unsure, divides G by the number of classes, and roughly halves the second term.
The paper specifies neither T nor the diagonal; 4 and 0.1 are from the code. G has a row per sample,
so the second term depends on the batch in no simple way.

Settings: public code of others (torchdistill, which takes T and the diagonal from the authors'
code).
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods._logits import divergence


def instance_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compute KL(softmax(teacher / T) || softmax(student / T)), without T^2 (eq. 1).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    return divergence(student, teacher.detach(), temperature).mean()


def direction_loss(student: Tensor, teacher: Tensor, diagonal: float = 0.1) -> Tensor:
    """Compute the Mahalanobis lengths of the rows of D (eq. 3 to 8).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        diagonal: Constant added to the diagonal of the covariance.

    Returns:
        Scalar: mean over rows.
    """
    student, teacher = F.normalize(student, dim=1), F.normalize(teacher.detach(), dim=1)
    difference = student @ student.T - teacher @ teacher.T
    count = len(difference)

    centred = difference - difference.mean(dim=0)
    covariance = centred.T @ centred / max(count - 1, 1)
    identity = torch.eye(count, dtype=student.dtype, device=student.device)
    covariance = covariance + diagonal * identity

    # The `_ex` form skips the error check, which would synchronise with a GPU.
    factor = torch.linalg.cholesky_ex(covariance).L
    whitened: Tensor = torch.linalg.solve_triangular(factor, difference.T, upper=False)
    lengths: Tensor = whitened.norm(dim=0)
    return lengths.mean()


class Streamlined(Method):
    """Let the student's predictions, and the angles between them, follow the teacher's.

    Args:
        temperature: T of the comparison of samples.
        diagonal: Constant added to the diagonal of the covariance.
        instance: Weight of the comparison of samples.
        direction: Weight of the comparison of directions.
    """

    paper = Paper(
        "Streamlined Knowledge Distillation",
        "Jeong et al.",
        "CVPR",
        2026,
        "openaccess.thecvf.com/content/CVPR2026/papers/"
        "Jeong_Streamlined_Knowledge_Distillation_CVPR_2026_paper.pdf",
    )
    formula = (
        "KL(softmax(teacher/T) || softmax(student/T)) + mean_i sqrt(D_i S^-1 D_i), "
        "D = G_student - G_teacher"
    )
    needs = Needs(logits=True)
    minimum = 0.0
    assumes_batch = 64

    def __init__(
        self,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        diagonal: Annotated[float, Positive, LogUniform(0.01, 1.0)] = 0.1,
        instance: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        direction: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.temperature = temperature
        self.diagonal = diagonal
        self.instance = instance
        self.direction = direction
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms: `instance` and `direction`."""
        instance = instance_loss(student.logits, teacher.logits, self.temperature)
        direction = direction_loss(student.logits, teacher.logits, self.diagonal)

        return {
            "instance": (self.instance, instance),
            "direction": (self.direction, direction),
        }
