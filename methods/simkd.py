"""SimKD: distillation with the reused teacher classifier. Chen et al., CVPR 2022, arXiv:2203.14001.

Reduction (section 3): squared error between the student's projected map and the teacher's, both at
the smaller size, mean over all elements. As in the authors' code, this loss is used alone, without
cross-entropy and without distillation of logits, and the projector consists of 1x1, 3x3 and 1x1
convolutions, half as wide as the teacher's map, with BatchNorm and ReLU after each. The larger of
two maps is average-pooled. If a network has no map whose average is its embedding, the embedding is
used as a map with one position.

At inference the student's own classifier is replaced by the projector and the teacher's classifier,
which stays unchanged. The student's own classifier is trained only by another method or a positive
`ce`.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    Bound,
    Classifier,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Probe,
    Terms,
)
from methods._adapters import pooled_to
from methods._features import final_map


def projection_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Compare the projected map with the teacher's map, pooled to the size of the former.

    Args:
        projected: Projected map [N, D, H, W].
        teacher: Map [N, D, H', W']; no gradient reaches it.

    Returns:
        Scalar: mean squared error over all elements.
    """
    size = (projected.shape[2], projected.shape[3])
    return F.mse_loss(projected, pooled_to(teacher.detach(), size))


def projector(student: int, teacher: int, factor: int = 2) -> nn.Sequential:
    """Make the bottleneck from a student's channels to a teacher's.

    Args:
        student: The student's channels.
        teacher: The teacher's channels.
        factor: Ratio of the teacher's channels to those of the bottleneck.
    """
    width = max(teacher // factor, 1)

    layers: list[nn.Module] = []
    for source, target, size in ((student, width, 1), (width, width, 3), (width, teacher, 1)):
        conv = nn.Conv2d(source, target, size, padding=size // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(target), nn.ReLU()]
    return nn.Sequential(*layers)


class ReusedClassifier(nn.Module):
    """Head at inference: the projector, and the teacher's classifier on its averaged output.

    Args:
        probe: The pair.
        classifier: The teacher's classifier, which is copied and stays unchanged.
        factor: Ratio of the teacher's channels to those of the projector's bottleneck.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, probe: Probe, classifier: Classifier, factor: int):
        super().__init__()
        own = probe.student.pooled[1:] or (1, 1)
        other = probe.teacher.pooled[1:] or (1, 1)
        self.size = (min(own[0], other[0]), min(own[1], other[1]))
        self.projector = projector(probe.student.embedding[0], probe.teacher.embedding[0], factor)

        self.register_buffer("weight", classifier.weight.detach().clone())
        bias = None if classifier.bias is None else classifier.bias.detach().clone()
        self.register_buffer("bias", bias)

    def project(self, student: Output) -> Tensor:
        """Project the student's map into the teacher's space, [N, D, H, W]."""
        projected: Tensor = self.projector(pooled_to(final_map(student), self.size))
        return projected

    def forward(self, student: Output) -> Tensor:
        """Return logits, [N, classes]."""
        return F.linear(self.project(student).mean(dim=(2, 3)), self.weight, self.bias)


class SimKD(Method):
    """Turn the student's last map into the teacher's, so that the teacher's classifier fits.

    Args:
        weight: Weight of the term.
        factor: Ratio of the teacher's channels to those of the projector's bottleneck.
    """

    paper = Paper(
        "Knowledge Distillation with the Reused Teacher Classifier",
        "Chen et al.",
        "CVPR",
        2022,
        "arXiv:2203.14001",
    )
    formula = (
        "mean (projector(f_student) - f_teacher)^2 of the last maps; "
        "inference by the teacher's classifier"
    )
    needs = Needs(embedding=True, pooled=True, classifier=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        factor: Annotated[int, Bound(low=1)] = 2,
        ce: Annotated[float, NonNegative] = 0.0,
    ):
        super().__init__()
        self.weight = weight
        self.factor = factor
        self.ce = ce

        self.head: ReusedClassifier | None = None

    def supports(self, probe: Probe) -> str | None:
        """Require the teacher's classifier, which is used at inference."""
        reason = super().supports(probe)
        if reason is None and probe.classifier is None:
            reason = "the teacher's classifier is not available"
        return reason

    def build(self, probe: Probe) -> None:
        """Make the projector, and copy the teacher's classifier."""
        assert probe.classifier is not None
        self.head = ReusedClassifier(probe, probe.classifier, self.factor)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `simkd`."""
        assert self.head is not None
        loss = projection_loss(self.head.project(student), final_map(teacher))
        return {"simkd": (self.weight, loss)}

    def deployed(self) -> nn.Module | None:
        """Return the projector and the teacher's classifier."""
        return self.head
