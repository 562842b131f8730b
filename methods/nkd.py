"""Normalised knowledge distillation. Yang et al., ICCV 2023, arXiv:2303.13005, section 3.

Reduction: two cross-entropies (not KL divergences: the teacher's entropy stays in), summed over classes, mean over the
batch. The label's term is at temperature 1 whatever T is; the other classes are a distribution of their own at T, times
T^2. SDD's copy of this loss leaves the label among the other classes (0.99 to 1.04 of the value); we follow the
authors' code. Defaults T = 1 and gamma = 1.5 are the code's and those of ImageNet; on CIFAR-100 it is T = 3, gamma 3.5.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import of_target, without_target
from methods._settings import LogUniform, NonNegative, Positive


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """-p_teacher(label) * log p_student(label), mean over the batch.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    sure = of_target(F.softmax(teacher.detach(), dim=1), labels)
    return -(sure * of_target(F.log_softmax(student, dim=1), labels)).mean()


def other_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """T^2 * cross-entropy between the two softmaxes over all classes but the label, mean over the batch.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    log_student = F.log_softmax(without_target(student, labels) / temperature, dim=1)
    others = F.softmax(without_target(teacher.detach(), labels) / temperature, dim=1)
    return -(others * log_student).sum(dim=1).mean() * temperature**2


def nkd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, gamma: float = 1.5, temperature: float = 1.0
) -> Tensor:
    """The label's loss + gamma * the other classes'.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    return target_loss(student, teacher, labels) + gamma * other_loss(
        student, teacher, labels, temperature
    )


class NormalisedDistillation(Method):
    """The teacher weights the label, and the other classes are compared as a distribution of their own."""

    paper = Paper(
        "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss and "
        "Customized Soft Labels",
        "Yang et al.",
        "ICCV",
        2023,
        "arXiv:2303.13005",
    )
    formula = "-p_t(y) log p_s(y) - gamma * T^2 * sum over k != y of q_t(k) log q_s(k), q without the label"
    needs = Needs(logits=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        gamma: Annotated[float, NonNegative, LogUniform(0.15, 15.0)] = 1.5,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.gamma, self.temperature, self.ce = weight, gamma, temperature, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `target` (times `weight`) and `others` (times `gamma`)."""
        given = (student.logits, teacher.logits, batch.labels)
        return {
            "target": (self.weight, target_loss(*given)),
            "others": (self.gamma, other_loss(*given, self.temperature)),
        }
