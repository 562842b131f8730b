"""Refined logit distillation. Sun et al., 2024, arXiv:2408.07703.

A wrong teacher must not pull the student away from the label. Reduction: two KL divergences, summed
over classes, mean over the batch, times the square of their temperatures, as in the authors' code.
SCD moves the student's probability of the label towards the teacher's largest probability (at
`alpha_temperature`). MCD compares only the classes whose teacher logit is below the label's (at
`temperature`), so a sample whose label is the teacher's least likely class does not contribute to
MCD. Both are computed from log-probabilities: the authors' logarithm of a summed softmax is
infinite where the sum underflows, whereas this version stays finite.

Both terms grow linearly over the first 20 of 240 epochs; this length is stored as a fraction so
that it carries over to other recipes. The functions after `rld_loss` are the losses that the
authors compare with; no method here trains with them.

Settings: published by the authors (the code's own defaults), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

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
    Terms,
)
from methods._logits import divergence, of_target, target_and_rest, warmed_up


def sample_confidence_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """Compare (label, rest) of the student with (largest, rest) of the teacher.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Scalar: T^2 * KL, mean over the batch.
    """
    teacher = teacher.detach()
    target = target_and_rest(teacher / temperature, teacher.argmax(dim=1))
    own = target_and_rest(student / temperature, labels)

    return divergence(own, target).mean() * temperature**2


def masked_correlation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> Tensor:
    """Compare predictions over the classes that the teacher ranks below the label.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        temperature: Softmax temperature T.

    Returns:
        Scalar: T^2 * KL, mean over the batch.
    """
    teacher = teacher.detach()
    left_out = teacher >= of_target(teacher, labels)[:, None]
    own = (student / temperature).masked_fill(left_out, -1e9)
    target = (teacher / temperature).masked_fill(left_out, -1e9)

    return divergence(own, target).mean() * temperature**2


def rld_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    alpha_temperature: float = 1.0,
) -> Tensor:
    """Compute alpha * SCD + beta * MCD.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        alpha: Weight of SCD.
        beta: Weight of MCD.
        temperature: T of MCD.
        alpha_temperature: T of SCD.

    Returns:
        Scalar: mean over the batch.
    """
    confidence = sample_confidence_loss(student, teacher, labels, alpha_temperature)
    correlation = masked_correlation_loss(student, teacher, labels, temperature)
    return alpha * confidence + beta * correlation


def raised(logits: Tensor, labels: Tensor) -> Tensor:
    """Add the largest logit to the label's.

    With the student's own raised logits, `kd_loss` needs no teacher (RC in the comparison).

    Args:
        logits: Logits [N, classes].
        labels: Class labels [N].

    Returns:
        Logits [N, classes], without a gradient.
    """
    logits = logits.detach()
    return logits.scatter_add(1, labels[:, None], logits.amax(dim=1, keepdim=True))


def swapped(logits: Tensor, labels: Tensor) -> Tensor:
    """Exchange the largest logit with the label's.

    Args:
        logits: Logits [N, classes].
        labels: Class labels [N].

    Returns:
        Logits [N, classes], without a gradient.
    """
    logits = logits.detach()
    largest, position = logits.max(dim=1, keepdim=True)
    of_label = logits.gather(1, labels[:, None])
    return logits.scatter(1, position, of_label).scatter(1, labels[:, None], largest)


def revised(teacher: Tensor, labels: Tensor, eta: float = 0.8) -> Tensor:
    """Mix the teacher's probabilities with the label, so that the label leads.

    The teacher's share is eta / (largest - label's + 1), in terms of its probabilities.

    Args:
        teacher: Logits [N, classes].
        labels: Class labels [N].
        eta: Largest share of the teacher's probabilities.

    Returns:
        Probabilities [N, classes], without a gradient.
    """
    probabilities = F.softmax(teacher.detach(), dim=1)
    gap = probabilities.amax(dim=1) - of_target(probabilities, labels)
    share = (eta / (gap + 1))[:, None]
    return share * probabilities + (1 - share) * F.one_hot(labels, teacher.shape[1])


def revision_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    lambda1: float = 4.0,
    lambda2: float = 1.0,
    eta: float = 0.8,
) -> Tensor:
    """Compute label revision.

    The loss is CE + lambda1 * MSE of logits where the teacher is right, and lambda2 * MSE to
    `revised` probabilities elsewhere.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        lambda1: Weight where the teacher is right.
        lambda2: Weight where the teacher is wrong.
        eta: Largest share of the teacher's probabilities.

    Returns:
        Scalar: the sum of two means over the samples concerned, 0 where there are none.
    """
    teacher = teacher.detach()
    right = (teacher.argmax(dim=1) == labels).to(student.dtype)

    logit_errors = (student - teacher).pow(2).mean(dim=1)
    where_right = F.cross_entropy(student, labels, reduction="none") + lambda1 * logit_errors

    probability_errors = F.softmax(student, dim=1) - revised(teacher, labels, eta)
    where_wrong = lambda2 * probability_errors.pow(2).mean(dim=1)
    return _mean(where_right, right) + _mean(where_wrong, 1 - right)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen > 0, values, 0.0).sum() / chosen.sum().clamp(min=1)


class RefinedLogits(Method):
    """Follow the teacher where it does not contradict the labels.

    Args:
        alpha: Weight of SCD.
        beta: Weight of MCD.
        temperature: T of MCD.
        alpha_temperature: T of SCD.
        warm_up: Length of the linear warm-up, as a share of the training.
    """

    paper = Paper(
        "Knowledge Distillation with Refined Logits",
        "Sun et al.",
        "arXiv",
        2024,
        "arXiv:2408.07703",
    )
    formula = (
        "alpha * Ta^2 * KL(teacher's largest || student's label) "
        "+ beta * T^2 * KL(classes ranked below the label)"
    )
    needs = Needs(logits=True)
    changes_by_epoch = True

    def __init__(
        self,
        alpha: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        beta: Annotated[float, NonNegative, LogUniform(0.8, 80.0)] = 8.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        alpha_temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        warm_up: Annotated[float, Bound(0.0, 1.0)] = 1 / 12,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.alpha_temperature = alpha_temperature
        self.warm_up = warm_up
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `scd` and `mcd`."""
        inputs = (student.logits, teacher.logits, batch.labels)
        share = warmed_up(batch, self.warm_up)

        return {
            "scd": (self.alpha * share, sample_confidence_loss(*inputs, self.alpha_temperature)),
            "mcd": (self.beta * share, masked_correlation_loss(*inputs, self.temperature)),
        }
