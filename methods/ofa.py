"""One for all (OFA-KD). Hao et al., NeurIPS 2023, arXiv:2310.19444, section 3.

Teacher and student may have any architectures: each stage of the student gets its own small
classifier, and all of these, like the student's own logits, learn from the teacher's logits.
Reduction: cross-entropy summed over classes, mean over the batch, summed over stages; no T^2. The
exponent strengthens the label's share of the teacher's prediction: 1, the default, leaves plain
soft cross-entropy. The teacher's entropy is not subtracted, so the minimum of the loss is not 0.

The layers of the heads are the authors' for convolutional students: a separable convolution of
stride 2 for each stage that follows, the last as wide as the widest of the student's last map and
the two embeddings (for the last stage a 1x1 convolution to that width), then an average over
positions and a linear layer. They start as PyTorch initialises them, whereas the authors draw the
weights from other distributions. Transformers get the same heads here, on their maps; the authors
use a block on tokens instead.

Settings: published by the authors (issues 14 and 32 of Hao840/OFAKD), for CIFAR-100. The stages
have weight 0.1, the logits 1, exponent 1. On ImageNet the stages have weight 1, and the exponent is
1.5 in the example (ResNet-18 from DeiT-T).
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Positive,
    Probe,
    Terms,
    Uniform,
)
from methods._contract import missing


def ofa_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    exponent: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """Compute -sum_k ((p_t + y)^exponent - y) log p_s, with y = 1 at the label and 0 elsewhere.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        labels: Class labels [N].
        exponent: Exponent that strengthens the label.
        temperature: T of both predictions.

    Returns:
        Scalar: mean over the batch.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    at_label = F.one_hot(labels, student.shape[1]).to(student.dtype)
    target = (F.softmax(teacher.detach() / temperature, dim=1) + at_label).pow(exponent) - at_label
    return -(target * log_student).sum(dim=1).mean()


class OneForAll(Method):
    """Let every stage of the student predict what the teacher predicts.

    Args:
        weight: Weight of the student's own logits.
        stages: Weight of the sum over stages.
        exponent: Exponent that strengthens the label.
        temperature: T of both predictions.
    """

    paper = Paper(
        "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation",
        "Hao et al.",
        "NeurIPS",
        2023,
        "arXiv:2310.19444",
    )
    formula = "sum over stages and logits of -sum ((p_teacher + y)^eps - y) log p_student"
    needs = Needs(logits=True, maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        stages: Annotated[float, NonNegative, LogUniform(0.01, 1.0)] = 0.1,
        exponent: Annotated[float, Positive, Uniform(1.0, 2.0)] = 1.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.stages = stages
        self.exponent = exponent
        self.temperature = temperature
        self.ce = ce

        self.heads = nn.ModuleList()

    def supports(self, probe: Probe) -> str | None:
        """Require the student's maps; the teacher's logits are enough."""
        return missing(probe, "student", ["maps"])

    def build(self, probe: Probe) -> None:
        """Make a head for each stage of the student."""
        maps = probe.student.maps
        width = max(maps[-1][0], *probe.student.embedding, *probe.teacher.embedding)
        classes = probe.teacher.logits[0]

        for stage, (channels, *_) in enumerate(maps):
            following = len(maps) - 1 - stage
            self.heads.append(_head(channels, width, following, classes))

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms: `ofa`, of the student's own logits, and `stages`, of its heads."""
        target = (teacher.logits, batch.labels, self.exponent, self.temperature)
        stages = zip(self.heads, student.maps, strict=True)
        losses = [ofa_loss(head(features), *target) for head, features in stages]

        return {
            "ofa": (self.weight, ofa_loss(student.logits, *target)),
            "stages": (self.stages, torch.stack(losses).sum()),
        }


def _head(channels: int, width: int, halvings: int, classes: int) -> nn.Module:
    """Make a classifier for a map, with `halvings` separable convolutions of stride 2."""
    layers: list[nn.Module] = []
    for remaining in range(halvings, 0, -1):
        out = width if remaining == 1 else 2 * channels
        layers += [*_separable(channels, channels, stride=2), *_separable(channels, out, stride=1)]
        channels = out

    if halvings == 0:
        layers.append(nn.Conv2d(channels, width, 1))
        channels = width

    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)


def _separable(source: int, target: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(source, source, 3, stride=stride, padding=1, groups=source, bias=False),
        nn.Conv2d(source, target, 1, bias=False),
        nn.BatchNorm2d(target),
        nn.ReLU(),
    ]
