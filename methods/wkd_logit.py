"""Wasserstein distance of logits (WKD-L). Lv et al., NeurIPS 2024, arXiv:2412.08139, discrete case.

Moving the student's probability to the teacher's costs more the less alike two classes are. All classes but the label
take part in that; the label's own probability is compared by cross-entropy, -p_t log p_s at temperature 1. Reduction:
transport cost per sample, mean over the batch. The plan is Sinkhorn's, from u = 1 / classes, through whose 10 unrolled
iterations the gradient flows; 1e-8 is added to its denominators and to the cost, as in the authors' code, which makes
probabilities float32 whatever it is given, as this does not.

The cost of two classes is 1 - exp(-sharpen * d), d = 1 - cosine of the teacher's classifier weights. The authors' first
choice is d = 1 - CKA of the classes' features over the training set, which asks for a pass over the data; the weights'
cosine is their other one. Weight 600 is theirs for CIFAR-100 and CKA (30 at T = 2 for ImageNet). It falls to 0 by a
cosine after 150 of 240 epochs, kept as a share so that it carries over to recipes of other lengths.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms, lacking
from methods._logits import of_target
from methods._settings import Bound, LogUniform, NonNegative, Positive


def class_cost(weight: Tensor, sharpen: float = 1.0) -> Tensor:
    """1 - exp(-sharpen * (1 - cosine)) of a classifier's rows.  [classes, D] -> [classes, classes]."""
    rows = F.normalize(weight, dim=1)
    return 1 - torch.exp(-sharpen * (1 - rows @ rows.T))


def sinkhorn(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    regularisation: float = 0.05,
    iterations: int = 10,
    taking_part: Tensor | None = None,
) -> Tensor:
    """Cost of moving one distribution onto another, per sample.  [N, classes] each, [classes, classes] -> [N].

    taking_part: [N, classes], 0 for classes that are left out and whose probabilities are 0, 1 for the others.
    """
    cost = F.relu(cost) + 1e-8
    kernel = torch.exp(-cost / regularisation)
    taking_part = torch.ones_like(student) if taking_part is None else taking_part
    u = taking_part / taking_part.sum(dim=1, keepdim=True)
    for _ in range(iterations):
        v = teacher / (u @ kernel + 1e-8)
        u = student / (v @ kernel.T + 1e-8)
    return (u * (v @ (kernel * cost).T)).sum(dim=1)


def transport_loss(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    labels: Tensor | None = None,
    temperature: float = 8.0,
    regularisation: float = 0.05,
    iterations: int = 10,
) -> Tensor:
    """Transport cost of softmax(z / T), mean over the batch; over all classes but the label where labels are given.

    student, teacher: logits [N, classes]; cost: [classes, classes] -> scalar. No gradient reaches the teacher.
    """
    teacher, taking_part = teacher.detach(), torch.ones_like(student)
    if labels is not None:
        at_label = F.one_hot(labels, student.shape[1]).bool()
        student, teacher = (one.masked_fill(at_label, -math.inf) for one in (student, teacher))
        taking_part = taking_part.masked_fill(at_label, 0.0)
    a, b = (F.softmax(one / temperature, dim=1) for one in (student, teacher))
    return sinkhorn(a, b, cost, regularisation, iterations, taking_part).mean()


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """-p_t log p_s at the label, mean over the batch.  Logits [N, classes], labels [N] -> scalar."""
    known = of_target(F.softmax(teacher.detach(), dim=1), labels)
    return -(known * of_target(F.log_softmax(student, dim=1), labels)).mean()


def late_decay(batch: Batch, share: float) -> float:
    """Weight of a term that is 1 for a share of the training and then falls to 0, in the last epoch, by a cosine."""
    done = (batch.epoch + 1) / batch.epochs
    return (1 + math.cos(math.pi * (done - share) / (1 - share))) / 2 if done > share else 1.0


class WassersteinLogits(Method):
    """The student's probabilities move to the teacher's, the nearer the classes the cheaper."""

    paper = Paper(
        "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        "Lv et al.",
        "NeurIPS",
        2024,
        "arXiv:2412.08139",
    )
    formula = "-p_t log p_s at the label + gamma * Sinkhorn distance of the other classes, cost by classifier weights"
    needs = Needs(logits=True, classifier=True)

    cost: Tensor

    def __init__(
        self,
        gamma: Annotated[float, NonNegative, LogUniform(60.0, 6000.0)] = 600.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 8.0,
        target: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        regularisation: Annotated[float, Positive, LogUniform(0.01, 0.5)] = 0.05,
        iterations: Annotated[int, Bound(low=1)] = 10,
        sharpen: Annotated[float, Positive, LogUniform(0.1, 10.0)] = 1.0,
        decay_after: Annotated[float, Bound(0, 1)] = 150 / 240,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.gamma, self.temperature, self.target, self.ce = gamma, temperature, target, ce
        self.regularisation, self.iterations = regularisation, iterations
        self.sharpen, self.decay_after = sharpen, decay_after
        self.register_buffer("cost", torch.empty(0))

    def supports(self, probe: Probe) -> str | None:
        """Needs the teacher's classifier, and two classes beside the label."""
        reason = super().supports(probe)
        if reason is None and probe.classifier is None:
            reason = lacking(probe, "teacher", "classifier")
        if reason is None and probe.student.logits[0] < 3:
            reason = "two classes: without the label there is nothing to move"
        return reason

    def build(self, probe: Probe) -> None:
        """Takes the cost of two classes from the teacher's classifier."""
        assert probe.classifier is not None
        self.cost = class_cost(probe.classifier.weight.detach().float(), self.sharpen)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms: `target`, of the label, and `transport`, of the other classes."""
        settings = (self.temperature, self.regularisation, self.iterations)
        transport = transport_loss(
            student.logits, teacher.logits, self.cost, batch.labels, *settings
        )
        return {
            "target": (self.target, target_loss(student.logits, teacher.logits, batch.labels)),
            "transport": (self.gamma * late_decay(batch, self.decay_after), transport),
        }
