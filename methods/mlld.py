"""Multi-level logit distillation. Jin, Wang & Lin, CVPR 2023, section 3.

Three comparisons of predictions, each at the temperatures T, 3, 5, 2 and 6: of samples (KL times T^2), of how samples
resemble each other (P P^T) and of how classes do (P^T P). Reductions: KL is summed over classes, mean over the batch;
the squared differences of P P^T are summed and divided by the samples, those of P^T P by the classes.

The numbers are the authors' code's, oddities with them, since the published weights come from it. The code's masks of
what the teacher is sure of come after each loss is reduced to a number, so that it is only multiplied by the share of
samples (or, for P^T P, of classes) whose confidence is not above the median: about a half. Of the strong view only
three of five KL terms are its own, those at T = 2 and 6 use the weak view; its comparisons of samples and of classes
are not counted. Default temperature 4 and weights 0.1 CE + 0.9 are the code's configuration.

`standardised` is the combination with logit standardisation (Sun et al., CVPR 2024), in which the KL terms alone see
standardised logits; published for it are a temperature of 2 and a weight of 9.

`logits` are the weak view, `second` the strong one. The weak view's cross-entropy is the engine's, the strong one's is
a term here with the same weight. How the parts grow with the batch follows no simple law; the weights assume 64.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._logits import divergence
from methods._settings import LogUniform, NonNegative, Positive
from methods.ls import standardised as scaled

FIXED = (3.0, 5.0, 2.0, 6.0)


def sample_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 * KL(teacher || student), mean over the batch.  Logits [N, classes] each -> scalar."""
    return divergence(student, teacher.detach(), temperature).mean() * temperature**2


def batch_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Squared difference of P P^T, P = softmax(z / T), summed, divided by N.  Logits [N, classes] each -> scalar."""
    p_s, p_t = (
        F.softmax(student / temperature, dim=1),
        F.softmax(teacher.detach() / temperature, dim=1),
    )
    return (p_t @ p_t.T - p_s @ p_s.T).pow(2).sum() / len(student)


def class_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Squared difference of P^T P, P = softmax(z / T), summed, divided by the classes.  [N, classes] each -> scalar."""
    p_s, p_t = (
        F.softmax(student / temperature, dim=1),
        F.softmax(teacher.detach() / temperature, dim=1),
    )
    return (p_t.T @ p_t - p_s.T @ p_s).pow(2).sum() / student.shape[1]


def unsure(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the samples, and of the classes, whose confidence is not above the median.  [N, classes] -> 2 scalars.

    A sample's confidence is its largest probability, a class's the sum of its probabilities over the batch.
    """
    probabilities = F.softmax(teacher.detach(), dim=1)
    each = (probabilities.amax(dim=1), probabilities.sum(dim=0))
    # torch's median is the lower of the middle two: as many are not above it as are not above the mean of both
    samples, classes = ((one <= one.median()).to(teacher.dtype).mean() for one in each)
    return samples, classes


def sample_losses(
    weak: Tensor,
    strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    share: Tensor,
    temperature: float = 4.0,
) -> Tensor:
    """All comparisons of samples together.  Logits [N, classes] each -> scalar. share: of samples, see `unsure`."""
    first = sum(sample_loss(weak, teacher_weak, one) for one in (temperature, *FIXED)) * share
    own = sum(sample_loss(strong, teacher_strong, one) for one in (temperature, 3.0, 5.0))
    return first + own + sample_loss(weak, teacher_weak, 2.0) + sample_loss(weak, teacher_weak, 6.0)


def batch_losses(weak: Tensor, teacher: Tensor, share: Tensor, temperature: float = 4.0) -> Tensor:
    """`batch_loss` at all temperatures, times the share of samples.  [N, classes] each -> scalar."""
    return share * sum(batch_loss(weak, teacher, one) for one in (temperature, *FIXED))


def class_losses(weak: Tensor, teacher: Tensor, share: Tensor, temperature: float = 4.0) -> Tensor:
    """`class_loss` at all temperatures, times the share of classes.  [N, classes] each -> scalar."""
    return share * sum(class_loss(weak, teacher, one) for one in (temperature, *FIXED))


class MultiLevelLogitDistillation(Method):
    """Predictions are compared sample by sample, and as relations within the batch, at five temperatures."""

    paper = Paper(
        "Multi-level Logit Distillation",
        "Jin et al.",
        "CVPR",
        2023,
        "github.com/Jin-Ying/Multi-Level-Logit-Distillation",
    )
    formula = "sum over T of T^2 KL + |P_t P_t^T - P_s P_s^T|^2 / N + |P_t^T P_t - P_s^T P_s|^2 / C, on two views"
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
        self.temperature, self.weight, self.standardised, self.ce = (
            temperature,
            weight,
            standardised,
            ce,
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Four terms: `kd` of samples, `bc` of the batch's relations, `cc` of the classes', `ce_strong`."""
        assert student.second is not None
        assert teacher.second is not None
        weak, known = student.logits, teacher.logits
        samples, classes = unsure(known)
        views = (weak, student.second, known, teacher.second)
        w, s, t_w, t_s = map(scaled, views) if self.standardised else views
        kd = sample_losses(w, s, t_w, t_s, samples, self.temperature)
        return {
            "kd": (self.weight, kd),
            "cc": (self.weight, class_losses(weak, known, classes, self.temperature)),
            "bc": (self.weight, batch_losses(weak, known, samples, self.temperature)),
            "ce_strong": (self.ce, F.cross_entropy(student.second, batch.labels)),
        }
