"""Wasserstein distance of logits (WKD-L). Lv et al., NeurIPS 2024, arXiv:2412.08139, discrete case.

The less similar two classes are, the more it costs to move probability from one to the other. All
classes but the label take part in the transport; the label's own probability is compared by
cross-entropy, -p_t log p_s at temperature 1. Reduction: transport cost per sample, mean over the
batch. The plan is Sinkhorn's, from u = 1 / classes, and the gradient flows through its 10 unrolled
iterations; 1e-8 is added to the denominators and to the cost, as in the authors' code. That code
casts probabilities to float32; this file does not.

The cost of two classes is 1 - exp(-sharpen * d), d = 1 - cosine of the teacher's classifier
weights. The authors' first choice is d = 1 - CKA of the classes' features over the training set,
which needs a pass over the data; the cosine of the weights is their second. Weight 600 is theirs
for CIFAR-100 and CKA (30 at T = 2 for ImageNet). The weight falls to 0 along a cosine after 150 of
240 epochs; this point is stored as a fraction so that it carries over to other recipes.

Settings: published by the authors, for CIFAR-100, with another cost (CKA). For the cosine of the
classifier's weights, the cost used here, no weight is known.
"""

from __future__ import annotations

import math
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
    Probe,
    Terms,
)
from methods._contract import lacking
from methods._logits import of_target


def class_cost(weight: Tensor, sharpen: float = 1.0) -> Tensor:
    """Compute the cost 1 - exp(-sharpen * (1 - cosine)) of all pairs of classes.

    Args:
        weight: Weights of a classifier, [classes, D].
        sharpen: Factor of the distances; larger values make small distances cost more.

    Returns:
        Costs [classes, classes].
    """
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
    """Compute the cost of moving one distribution onto another.

    Args:
        student: Probabilities [N, classes].
        teacher: Probabilities [N, classes].
        cost: Cost of each pair of classes, [classes, classes].
        regularisation: Entropic regularisation; smaller values come closer to the exact cost.
        iterations: Number of Sinkhorn iterations.
        taking_part: Mask [N, classes]: 1 for classes that take part, 0 for others, whose
            probabilities are 0; None if all take part.

    Returns:
        Costs [N].
    """
    cost = F.relu(cost) + 1e-8
    kernel = torch.exp(-cost / regularisation)
    if taking_part is None:
        taking_part = torch.ones_like(student)

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
    """Compute the cost of moving softmax(student / T) onto softmax(teacher / T).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        cost: Cost of each pair of classes, [classes, classes].
        labels: Class labels [N], whose classes are left out; None to keep all classes.
        temperature: Softmax temperature T.
        regularisation: Entropic regularisation.
        iterations: Number of Sinkhorn iterations.

    Returns:
        Scalar: mean over the batch.
    """
    teacher = teacher.detach()
    taking_part = torch.ones_like(student)
    if labels is not None:
        at_label = F.one_hot(labels, student.shape[1]).bool()
        student = student.masked_fill(at_label, -math.inf)
        teacher = teacher.masked_fill(at_label, -math.inf)
        taking_part = taking_part.masked_fill(at_label, 0.0)

    own = F.softmax(student / temperature, dim=1)
    others = F.softmax(teacher / temperature, dim=1)
    return sinkhorn(own, others, cost, regularisation, iterations, taking_part).mean()


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compute -p_t log p_s at the label.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].

    Returns:
        Scalar: mean over the batch.
    """
    confidence = of_target(F.softmax(teacher.detach(), dim=1), labels)
    return -(confidence * of_target(F.log_softmax(student, dim=1), labels)).mean()


def late_decay(batch: Batch, share: float) -> float:
    """Return 1 up to a share of the training, then a cosine down to 0 in the last epoch."""
    done = (batch.epoch + 1) / batch.epochs
    if done <= share:
        return 1.0
    return (1 + math.cos(math.pi * (done - share) / (1 - share))) / 2


class WassersteinLogits(Method):
    """Move the student's probabilities to the teacher's, at lower cost between similar classes.

    Args:
        gamma: Weight of the transport.
        temperature: T of the transport.
        target: Weight of the label's term.
        regularisation: Entropic regularisation of the transport.
        iterations: Number of Sinkhorn iterations.
        sharpen: Factor of the distances; larger values make small distances cost more.
        decay_after: Share of the training after which the weight of the transport falls.
    """

    paper = Paper(
        "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        "Lv et al.",
        "NeurIPS",
        2024,
        "arXiv:2412.08139",
    )
    formula = (
        "-p_t log p_s at the label + gamma * Sinkhorn distance of the other classes, "
        "cost by classifier weights"
    )
    needs = Needs(logits=True, classifier=True)
    changes_by_epoch = True

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
        self.gamma = gamma
        self.temperature = temperature
        self.target = target
        self.regularisation = regularisation
        self.iterations = iterations
        self.sharpen = sharpen
        self.decay_after = decay_after
        self.ce = ce

        self.register_buffer("cost", torch.empty(0))

    def supports(self, probe: Probe) -> str | None:
        """Require the teacher's classifier, and two classes besides the label."""
        reason = super().supports(probe)

        if reason is None and probe.classifier is None:
            reason = lacking(probe, "teacher", "classifier")
        if reason is None and probe.student.logits[0] < 3:
            reason = "with two classes, nothing is left to transport without the label"
        return reason

    def build(self, probe: Probe) -> None:
        """Compute the cost of all pairs of classes from the teacher's classifier."""
        assert probe.classifier is not None
        self.cost = class_cost(probe.classifier.weight.detach().float(), self.sharpen)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms: `target`, of the label, and `transport`, of the other classes."""
        target = target_loss(student.logits, teacher.logits, batch.labels)
        transport = transport_loss(
            student.logits,
            teacher.logits,
            self.cost,
            batch.labels,
            self.temperature,
            self.regularisation,
            self.iterations,
        )

        weight = self.gamma * late_decay(batch, self.decay_after)
        return {"target": (self.target, target), "transport": (weight, transport)}
