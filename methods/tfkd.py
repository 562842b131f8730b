"""Teacher-free knowledge distillation, a control. Yuan et al., CVPR 2020, arXiv:1909.11723.

A virtual teacher that gives 0.99 to the label and the rest to the others evenly, softened as if these probabilities
were logits (softmax(u / T)); the student stays at temperature 1 and there is no T^2, as in the authors' code.
Reduction: KL divergence divided by batch * classes, which `multiplier` makes up for. Defaults are those of ResNet-18 on
CIFAR-100; their total is (1 - alpha) CE + alpha * multiplier * loss, so `ce` is 0.9 and goes with alpha = 0.1. Other
networks have alpha 0.95, T 10 or 40, multiplier 1, or alpha 0.1, T 40, multiplier 50 (GoogLeNet).

`self_loss` is the paper's other half, Tf-KD_self, where the student's own trained copy teaches.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods._contract import Batch, Method, Output, Paper, Terms
from methods._settings import Bound, LogUniform, NonNegative, Positive
from methods.kd import kd_loss


def virtual_teacher(labels: Tensor, like: Tensor, correct: float = 0.99) -> Tensor:
    """`correct` on the label, the rest evenly on the other classes.  [N] -> [N, classes], shaped like the logits."""
    others = torch.full_like(like, (1 - correct) / (like.shape[1] - 1), requires_grad=False)
    return others.scatter(1, labels[:, None], correct)


def regularisation_loss(
    student: Tensor, labels: Tensor, temperature: float = 20.0, correct: float = 0.99
) -> Tensor:
    """KL(softmax(virtual teacher / T) || softmax(student)), mean over batch and classes.

    student: logits [N, classes], labels: [N] -> scalar
    """
    return (
        kd_loss(student, virtual_teacher(labels, student, correct) / temperature, 1.0)
        / student.shape[1]
    )


def self_loss(student: Tensor, teacher: Tensor, temperature: float = 6.0) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), mean over batch and classes.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    return kd_loss(student, teacher, temperature) / student.shape[1]


class TeacherFree(Method):
    """The student learns from an invented teacher that is always right and knows no class from another."""

    paper = Paper(
        "Revisiting Knowledge Distillation via Label Smoothing Regularization",
        "Yuan et al.",
        "CVPR",
        2020,
        "arXiv:1909.11723",
    )
    formula = "alpha * multiplier * KL(softmax(u/T) || softmax(student)) / C, u = 0.99 on the label"
    control = True

    def __init__(
        self,
        alpha: Annotated[float, Bound(0.0, 1.0)] = 0.1,
        temperature: Annotated[float, Positive, LogUniform(1.0, 100.0)] = 20.0,
        multiplier: Annotated[float, NonNegative, LogUniform(10.0, 1000.0)] = 100.0,
        ce: Annotated[float, NonNegative] = 0.9,
    ):
        super().__init__()
        self.weight, self.temperature, self.ce = alpha * multiplier, temperature, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `tfkd`."""
        return {
            "tfkd": (
                self.weight,
                regularisation_loss(student.logits, batch.labels, self.temperature),
            )
        }
