"""Multi-level logit distillation. Jin, Wang & Lin, CVPR 2023, section 3.

Three comparisons of predictions, each at the temperatures T, 3, 5, 2 and 6: of samples (KL times
T^2), of the similarities of samples (P P^T) and of classes (P^T P). Reductions: KL is summed over
classes, mean over the batch; the squared differences of P P^T are summed and divided by the number
of samples, those of P^T P by the number of classes.

The numbers follow the authors' code, oddities included, since the published weights belong to it.
The code masks confident predictions of the teacher only after each loss has been reduced to a
scalar, so the loss is multiplied by the share of samples (or, for P^T P, of classes) whose
confidence is not above the median: about a half. Only three of the strong view's five KL terms use
that view; those at T = 2 and 6 use the weak view. The strong view's similarities of samples and of
classes do not enter the loss. The default temperature 4 and weights 0.1 CE + 0.9 are the code's
configuration.

`standardised` is the combination with logit standardisation (Sun et al., CVPR 2024), in which only
the KL terms use standardised logits; a temperature of 2 and a weight of 9 are published for it.

`logits` belong to the weak view, `second` to the strong one. The engine adds the weak view's
cross-entropy; the strong view's is a term here, with the same weight. The parts do not scale with
the batch size in any simple way; the weights assume batches of 64.

Settings: published by the authors (the code's own defaults), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods._logits import divergence
from methods.ls import standardised as standardised_logits

FIXED = (3.0, 5.0, 2.0, 6.0)
"""The temperatures that are fixed."""


def sample_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compute T^2 * KL(teacher || student).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    return divergence(student, teacher.detach(), temperature).mean() * temperature**2


def batch_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compare the similarities of samples, P P^T with P = softmax(z / T).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: sum of squared differences over N.
    """
    p_student = F.softmax(student / temperature, dim=1)
    p_teacher = F.softmax(teacher.detach() / temperature, dim=1)
    return (p_teacher @ p_teacher.T - p_student @ p_student.T).pow(2).sum() / len(student)


def class_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compare the similarities of classes, P^T P with P = softmax(z / T).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: sum of squared differences over the number of classes.
    """
    p_student = F.softmax(student / temperature, dim=1)
    p_teacher = F.softmax(teacher.detach() / temperature, dim=1)
    return (p_teacher.T @ p_teacher - p_student.T @ p_student).pow(2).sum() / student.shape[1]


def unsure(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the shares of samples and of classes whose confidence is not above the median.

    A sample's confidence is its largest probability, a class's the sum of its probabilities over
    the batch.

    Args:
        teacher: Logits [N, classes].

    Returns:
        Two scalars: the share of the samples and that of the classes.
    """
    probabilities = F.softmax(teacher.detach(), dim=1)

    def share(confidence: Tensor) -> Tensor:
        # torch's median is the lower of the middle two. The share is the same as with the
        # mean of those two.
        return (confidence <= confidence.median()).to(teacher.dtype).mean()

    return share(probabilities.amax(dim=1)), share(probabilities.sum(dim=0))


def sample_losses(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    share: Tensor,
    temperature: float = 4.0,
) -> Tensor:
    """Sum `sample_loss` over views and temperatures.

    Args:
        weak: The student's logits for the weak view, [N, classes].
        strong: The student's logits for the strong view, [N, classes].
        teacher_weak: The teacher's logits for the weak view, [N, classes].
        teacher_strong: The teacher's logits for the strong view, [N, classes].
        share: Share of unsure samples, by which only the sum over all temperatures is multiplied.
        temperature: The temperature that is not fixed.

    Returns:
        Scalar.
    """
    first = sum(sample_loss(weak, teacher_weak, t) for t in (temperature, *FIXED)) * share
    second = sum(sample_loss(strong, teacher_strong, t) for t in (temperature, 3.0, 5.0))

    # The authors' code uses the weak view here; see the module's docstring.
    at_two = sample_loss(weak, teacher_weak, 2.0)
    at_six = sample_loss(weak, teacher_weak, 6.0)
    return first + second + at_two + at_six


def batch_losses(weak: Tensor, teacher: Tensor, share: Tensor, temperature: float = 4.0) -> Tensor:
    """Sum `batch_loss` over all temperatures, times the share of unsure samples.

    Args:
        weak: The student's logits for the weak view, [N, classes].
        teacher: The teacher's logits for the weak view, [N, classes].
        share: Share of unsure samples.
        temperature: The temperature that is not fixed.

    Returns:
        Scalar.
    """
    return share * sum(batch_loss(weak, teacher, t) for t in (temperature, *FIXED))


def class_losses(weak: Tensor, teacher: Tensor, share: Tensor, temperature: float = 4.0) -> Tensor:
    """Sum `class_loss` over all temperatures, times the share of unsure classes.

    Args:
        weak: The student's logits for the weak view, [N, classes].
        teacher: The teacher's logits for the weak view, [N, classes].
        share: Share of unsure classes.
        temperature: The temperature that is not fixed.

    Returns:
        Scalar.
    """
    return share * sum(class_loss(weak, teacher, t) for t in (temperature, *FIXED))


class MultiLevelLogitDistillation(Method):
    """Compare predictions directly, and as relations within the batch, at five temperatures.

    Args:
        temperature: One of the five temperatures; the others are fixed.
        weight: Weight of each of the three comparisons.
        standardised: Whether the comparison of samples uses standardised logits.
        ce: Weight of cross-entropy for each of the views.
    """

    paper = Paper(
        "Multi-level Logit Distillation",
        "Jin et al.",
        "CVPR",
        2023,
        "github.com/Jin-Ying/Multi-Level-Logit-Distillation",
    )
    formula = (
        "sum over T of T^2 KL + |P_t P_t^T - P_s P_s^T|^2 / N + |P_t^T P_t - P_s^T P_s|^2 / C, "
        "on two views"
    )
    needs = Needs(logits=True, views=True)
    assumes_batch = 64

    def __init__(
        self,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        standardised: bool = False,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self.standardised = standardised
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return four terms: `kd`, `cc` of classes, `bc` of samples, and `ce_strong`."""
        assert student.second is not None
        assert teacher.second is not None
        weak, target = student.logits, teacher.logits
        samples, classes = unsure(target)

        views = [weak, student.second, target, teacher.second]
        if self.standardised:
            views = [standardised_logits(logits) for logits in views]

        kd = sample_losses(views[0], views[1], views[2], views[3], samples, self.temperature)
        return {
            "kd": (self.weight, kd),
            "cc": (self.weight, class_losses(weak, target, classes, self.temperature)),
            "bc": (self.weight, batch_losses(weak, target, samples, self.temperature)),
            "ce_strong": (self.ce, F.cross_entropy(student.second, batch.labels)),
        }
