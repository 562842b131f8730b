"""Streamlined knowledge distillation (SKD). Jeong, Lee & Choi, CVPR 2026, no preprint, eq. 1 and 3 to 8.

Two comparisons of logits: of samples, by KL at a temperature, and of directions, by D = G_student - G_teacher, the
difference of the Gram matrices of logits scaled to unit length. A row of D is measured by its Mahalanobis length under
the covariance of D's columns, to whose diagonal 0.1 is added; the gradient flows through the covariance too.
Reductions: KL summed over classes, mean over the batch, without T^2; mean over the rows of D.

This is the paper's formula. The authors' code multiplies KL by T^2 and restricts it to samples of which the teacher is
unsure, divides G by the number of classes, and halves, about, the second term. The paper gives no T and no diagonal;
4 and 0.1 are the code's. G has a row per sample, so the second term depends on the batch in no simple way.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence
from methods._settings import LogUniform, NonNegative, Positive


def instance_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)), mean over the batch.  [N, classes] each -> scalar."""
    return divergence(student, teacher.detach(), temperature).mean()


def direction_loss(student: Tensor, teacher: Tensor, diagonal: float = 0.1) -> Tensor:
    """Mean Mahalanobis length of the rows of the difference of two Gram matrices.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    student, teacher = F.normalize(student, dim=1), F.normalize(teacher.detach(), dim=1)
    difference = student @ student.T - teacher @ teacher.T
    centred = difference - difference.mean(dim=0)
    count = len(difference)
    covariance = centred.T @ centred / max(count - 1, 1)
    covariance = covariance + diagonal * torch.eye(
        count, dtype=student.dtype, device=student.device
    )
    # The `_ex` form leaves out the check of success, for which a GPU would have to wait
    factor = torch.linalg.cholesky_ex(covariance).L
    whitened: Tensor = torch.linalg.solve_triangular(factor, difference.T, upper=False)
    lengths: Tensor = whitened.norm(dim=0)
    return lengths.mean()


class Streamlined(Method):
    """The student's predictions, and the angles between them, follow the teacher's."""

    paper = Paper(
        "Streamlined Knowledge Distillation",
        "Jeong et al.",
        "CVPR",
        2026,
        "openaccess.thecvf.com/content/CVPR2026/papers/Jeong_Streamlined_Knowledge_Distillation_CVPR_2026_paper.pdf",
    )
    formula = "KL(softmax(teacher/T) || softmax(student/T)) + mean_i sqrt(D_i S^-1 D_i), D = G_student - G_teacher"
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
        self.temperature, self.diagonal, self.ce = temperature, diagonal, ce
        self.instance, self.direction = instance, direction

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms: `instance` and `direction`."""
        return {
            "instance": (
                self.instance,
                instance_loss(student.logits, teacher.logits, self.temperature),
            ),
            "direction": (
                self.direction,
                direction_loss(student.logits, teacher.logits, self.diagonal),
            ),
        }
