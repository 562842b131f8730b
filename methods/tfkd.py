"""Teacher-free knowledge distillation, a control. Yuan et al., CVPR 2020, arXiv:1909.11723.

A virtual teacher assigns 0.99 to the label and spreads the rest evenly over the other classes,
softened as if these probabilities were logits (softmax(u / T)); the student stays at temperature 1
and there is no T^2, as in the authors' code. Reduction: KL divergence divided by batch * classes,
which `multiplier` compensates for. Defaults are those of ResNet-18 on CIFAR-100; the authors' total
is (1 - alpha) CE + alpha * multiplier * loss, so `ce` is 0.9 and goes with alpha = 0.1. For other
networks the authors use alpha 0.95, T 10 or 40, multiplier 1, or alpha 0.1, T 40, multiplier 50
(GoogLeNet).

`self_loss` is the paper's other half, Tf-KD_self, in which a trained copy of the student is the
teacher.

Settings: published by the authors, for ResNet-18 on CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from methods import Batch, Bound, LogUniform, Method, NonNegative, Output, Paper, Positive, Terms
from methods.kd import kd_loss


def virtual_teacher(labels: Tensor, like: Tensor, correct: float = 0.99) -> Tensor:
    """Return the probabilities of the virtual teacher.

    Args:
        labels: Class labels [N].
        like: Logits [N, classes] whose shape and type the result has.
        correct: Probability of the label.

    Returns:
        Probabilities [N, classes].
    """
    others = torch.full_like(like, (1 - correct) / (like.shape[1] - 1), requires_grad=False)
    return others.scatter(1, labels[:, None], correct)


def regularisation_loss(
    student: Tensor, labels: Tensor, temperature: float = 20.0, correct: float = 0.99
) -> Tensor:
    """Compute KL(softmax(virtual teacher / T) || softmax(student)).

    Args:
        student: Logits [N, classes].
        labels: Class labels [N].
        temperature: T of the virtual teacher.
        correct: Probability that the virtual teacher assigns to the label.

    Returns:
        Scalar: mean over batch and classes.
    """
    teacher = virtual_teacher(labels, student, correct)
    return kd_loss(student, teacher / temperature, 1.0) / student.shape[1]


def self_loss(student: Tensor, teacher: Tensor, temperature: float = 6.0) -> Tensor:
    """Compute T^2 * KL(softmax(teacher / T) || softmax(student / T)).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over batch and classes.
    """
    return kd_loss(student, teacher, temperature) / student.shape[1]


class TeacherFree(Method):
    """Learn from a virtual teacher that is always right and treats all other classes alike.

    Args:
        alpha: Weight of the loss within the authors' total.
        temperature: T of the virtual teacher.
        multiplier: Compensates for the mean over classes.
    """

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
        self.weight = alpha * multiplier
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `tfkd`."""
        loss = regularisation_loss(student.logits, batch.labels, self.temperature)
        return {"tfkd": (self.weight, loss)}
