"""Normalised knowledge distillation. Yang et al., ICCV 2023, arXiv:2303.13005, section 3.

Reduction: two cross-entropies (not KL divergences: the teacher's entropy is not subtracted), summed
over classes, mean over the batch. The label's term is at temperature 1 whatever T is; the other
classes form their own distribution at T, times T^2. SDD's copy of this loss keeps the label among
the other classes (0.99 to 1.04 times the value); this file follows the authors' code. Defaults T =
1 and gamma = 1.5 are the code's and those of ImageNet; on CIFAR-100 they are T = 3 and gamma = 3.5.

Settings: published by the authors, for ImageNet.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods._logits import of_target, without_target


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compute -p_teacher(label) * log p_student(label).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].

    Returns:
        Scalar: mean over the batch.
    """
    confidence = of_target(F.softmax(teacher.detach(), dim=1), labels)
    return -(confidence * of_target(F.log_softmax(student, dim=1), labels)).mean()


def other_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """Compute T^2 * cross-entropy between the two softmaxes over all classes but the label.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    log_student = F.log_softmax(without_target(student, labels) / temperature, dim=1)
    others = F.softmax(without_target(teacher.detach(), labels) / temperature, dim=1)
    return -(others * log_student).sum(dim=1).mean() * temperature**2


def nkd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, gamma: float = 1.5, temperature: float = 1.0
) -> Tensor:
    """Compute the label's loss + gamma * the other classes' loss.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        gamma: Weight of the other classes.
        temperature: T of the other classes.

    Returns:
        Scalar: mean over the batch.
    """
    target = target_loss(student, teacher, labels)
    return target + gamma * other_loss(student, teacher, labels, temperature)


class NormalisedDistillation(Method):
    """Weight the label by the teacher, and compare the other classes as their own distribution.

    Args:
        weight: Weight of the label's term.
        gamma: Weight of the other classes' term.
        temperature: T of the other classes.
    """

    paper = Paper(
        "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with "
        "Normalized Loss and Customized Soft Labels",
        "Yang et al.",
        "ICCV",
        2023,
        "arXiv:2303.13005",
    )
    formula = (
        "-p_t(y) log p_s(y) - gamma * T^2 * sum over k != y of q_t(k) log q_s(k), "
        "q without the label"
    )
    needs = Needs(logits=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        gamma: Annotated[float, NonNegative, LogUniform(0.15, 15.0)] = 1.5,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.gamma = gamma
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `target` (times `weight`) and `others` (times `gamma`)."""
        inputs = (student.logits, teacher.logits, batch.labels)
        return {
            "target": (self.weight, target_loss(*inputs)),
            "others": (self.gamma, other_loss(*inputs, self.temperature)),
        }
