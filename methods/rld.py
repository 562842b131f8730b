"""Refined logit distillation. Sun et al., 2024, arXiv:2408.07703.

A teacher that is wrong must not pull the student away from the label. Reduction: two KL divergences, summed over
classes, mean over the batch, times the square of their temperatures, as in the authors' code. SCD brings the student's
probability of the label to the teacher's largest probability (at `alpha_temperature`); MCD compares only classes whose
teacher logit is below the label's (at `temperature`), so a sample whose label the teacher finds least likely counts
nothing there. Computed from log-probabilities: the authors' log of a summed softmax is infinite where it
underflows, this one is not.

Both terms grow linearly over the first 20 of 240 epochs, kept as a share so that it carries over to recipes of other
lengths. The functions after `rld_loss` are the losses that the authors compare with; no method here trains with them.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence, of_target, target_and_rest, warmed_up
from methods._settings import Bound, LogUniform, NonNegative, Positive


def sample_confidence_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """T^2 * KL between (largest, rest) of the teacher and (label, rest) of the student, mean over the batch.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    teacher = teacher.detach()
    sure = target_and_rest(teacher / temperature, teacher.argmax(dim=1))
    return divergence(target_and_rest(student / temperature, labels), sure).mean() * temperature**2


def masked_correlation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0
) -> Tensor:
    """T^2 * KL over the classes that the teacher ranks below the label, mean over the batch.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    teacher = teacher.detach()
    left_out = teacher >= of_target(teacher, labels)[:, None]
    student, teacher = (
        (logits / temperature).masked_fill(left_out, -1e9) for logits in (student, teacher)
    )
    return divergence(student, teacher).mean() * temperature**2


def rld_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    alpha_temperature: float = 1.0,
) -> Tensor:
    """The sum alpha * SCD + beta * MCD.

    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    confidence = sample_confidence_loss(student, teacher, labels, alpha_temperature)
    return alpha * confidence + beta * masked_correlation_loss(
        student, teacher, labels, temperature
    )


def raised(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits whose largest one is added to the label's, without gradient.  [N, classes], [N] -> [N, classes].

    `kd_loss` of a student and its own raised logits needs no teacher (the comparison's RC).
    """
    logits = logits.detach()
    return logits.scatter_add(1, labels[:, None], logits.amax(dim=1, keepdim=True))


def swapped(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits whose largest one and the label's changed places, without gradient.  [N, classes], [N] -> [N, classes]."""
    logits = logits.detach()
    largest, place = logits.max(dim=1, keepdim=True)
    return logits.scatter(1, place, logits.gather(1, labels[:, None])).scatter(
        1, labels[:, None], largest
    )


def revised(teacher: Tensor, labels: Tensor, eta: float = 0.8) -> Tensor:
    """The teacher's probabilities mixed with the label, so that the label leads; eta: how much of them at most is kept.

    Their share is eta / (largest - label's + 1). No gradient.  Logits [N, classes], labels [N] -> [N, classes].
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
    """Label revision: CE and lambda1 * MSE of logits where the teacher is right, lambda2 * MSE to `revised` elsewhere.

    Each is a mean over the samples concerned, 0 where there are none.
    student, teacher: logits [N, classes], labels: [N] -> scalar. No gradient reaches the teacher.
    """
    teacher = teacher.detach()
    right = (teacher.argmax(dim=1) == labels).to(student.dtype)
    known = F.cross_entropy(student, labels, reduction="none") + lambda1 * (student - teacher).pow(
        2
    ).mean(dim=1)
    unknown = lambda2 * (F.softmax(student, dim=1) - revised(teacher, labels, eta)).pow(2).mean(
        dim=1
    )
    return _mean(known, right) + _mean(unknown, 1 - right)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen > 0, values, 0.0).sum() / chosen.sum().clamp(min=1)


class RefinedLogits(Method):
    """Of a teacher only what does not contradict the labels."""

    paper = Paper(
        "Knowledge Distillation with Refined Logits",
        "Sun et al.",
        "arXiv",
        2024,
        "arXiv:2408.07703",
    )
    formula = "alpha * Ta^2 * KL(teacher's largest || student's label) + beta * T^2 * KL(classes ranked below the label)"
    needs = Needs(logits=True)

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
        self.alpha, self.beta, self.warm_up, self.ce = alpha, beta, warm_up, ce
        self.temperature, self.alpha_temperature = temperature, alpha_temperature

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `scd` and `mcd`."""
        given, share = (
            (student.logits, teacher.logits, batch.labels),
            warmed_up(batch, self.warm_up),
        )
        return {
            "scd": (self.alpha * share, sample_confidence_loss(*given, self.alpha_temperature)),
            "mcd": (self.beta * share, masked_correlation_loss(*given, self.temperature)),
        }
