"""SimKD: distillation with the reused teacher classifier. Chen et al., CVPR 2022, arXiv:2203.14001, section 3.

Reduction: mean squared error over all elements between the projected map of the student and the teacher's, both at the
smaller size. As in the authors' code: that loss alone, without cross-entropy and distillation of logits, and the
projector 1x1, 3x3, 1x1 with BatchNorm and ReLU after each, its width the teacher's divided by 2. The larger of two maps
is average-pooled. Where a network has no map whose average is its embedding, both embeddings are maps of one position.

At inference the student's own classifier is replaced by the projector and the teacher's classifier, which stays as it
is. The student's is never trained unless another method, or `ce`, does so.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Classifier, Method, Needs, Output, Paper, Probe, Terms
from methods._features import final_map
from methods._settings import Bound, LogUniform, NonNegative


def projection_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over all elements; the teacher's map is average-pooled to the other's size.

    projected: [N, D, H, W], teacher: [N, D, H', W'] -> scalar. No gradient reaches the teacher.
    """
    return F.mse_loss(projected, _sized(teacher.detach(), (projected.shape[2], projected.shape[3])))


def projector(student: int, teacher: int, factor: int = 2) -> nn.Sequential:
    """The bottleneck from a student's channels to a teacher's."""
    width = max(teacher // factor, 1)
    layers: list[nn.Module] = []
    for source, target, size in ((student, width, 1), (width, width, 3), (width, teacher, 1)):
        conv = nn.Conv2d(source, target, size, padding=size // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(target), nn.ReLU()]
    return nn.Sequential(*layers)


class ReusedClassifier(nn.Module):
    """The projector, and the teacher's classifier on its average: what makes the logits at inference.

    probe: of the pair. classifier: the teacher's, which is copied and stays as it is.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, probe: Probe, classifier: Classifier, factor: int):
        super().__init__()
        sizes = [shapes.pooled[1:] or (1, 1) for shapes in (probe.student, probe.teacher)]
        self.size = (min(size[0] for size in sizes), min(size[1] for size in sizes))
        self.projector = projector(probe.student.embedding[0], probe.teacher.embedding[0], factor)
        self.register_buffer("weight", classifier.weight.detach().clone())
        self.register_buffer(
            "bias", None if classifier.bias is None else classifier.bias.detach().clone()
        )

    def project(self, student: Output) -> Tensor:
        """The student's map in the teacher's space, [N, D, H, W]."""
        projected: Tensor = self.projector(_sized(final_map(student), self.size))
        return projected

    def forward(self, student: Output) -> Tensor:
        """Logits, [N, classes]."""
        return F.linear(self.project(student).mean(dim=(2, 3)), self.weight, self.bias)


class SimKD(Method):
    """The student's last map becomes the teacher's, so that the teacher's classifier can be used."""

    paper = Paper(
        "Knowledge Distillation with the Reused Teacher Classifier",
        "Chen et al.",
        "CVPR",
        2022,
        "arXiv:2203.14001",
    )
    formula = "mean (projector(f_student) - f_teacher)^2 of the last maps; inference by the teacher's classifier"
    needs = Needs(embedding=True, pooled=True, classifier=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        factor: Annotated[int, Bound(low=1)] = 2,
        ce: Annotated[float, NonNegative] = 0.0,
    ):
        super().__init__()
        self.weight, self.factor, self.ce = weight, factor, ce
        self.head: ReusedClassifier | None = None

    def supports(self, probe: Probe) -> str | None:
        """Needs the teacher's classifier, which it goes on using."""
        reason = super().supports(probe)
        return (
            "the teacher's classifier is not given"
            if reason is None and probe.classifier is None
            else reason
        )

    def build(self, probe: Probe) -> None:
        """Makes the projector, and copies the teacher's classifier."""
        assert probe.classifier is not None
        self.head = ReusedClassifier(probe, probe.classifier, self.factor)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `simkd`."""
        assert self.head is not None
        return {
            "simkd": (self.weight, projection_loss(self.head.project(student), final_map(teacher)))
        }

    def deployed(self) -> nn.Module | None:
        """The projector and the teacher's classifier."""
        return self.head


def _sized(features: Tensor, size: tuple[int, int]) -> Tensor:
    return features if features.shape[2:] == size else F.adaptive_avg_pool2d(features, size)
