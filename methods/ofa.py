"""One for all (OFA-KD). Hao et al., NeurIPS 2023, arXiv:2310.19444, section 3.

Teacher and student may be of any kind: each stage of the student gets a small classifier of its own, and all of them,
and the student's own logits, learn from the teacher's logits. Reduction: summed over classes, mean over the batch,
summed over stages; no T^2. The target's share of the teacher's prediction is strengthened by the exponent: 1 leaves
plain soft cross-entropy, which is the default; the authors use 1.5 in one ImageNet setting. The teacher's entropy is
not taken off, so the loss does not end at 0.

A head is the authors' for convolutional students: as many separable convolutions of stride 2 as stages follow, the
last of which makes as many channels as the wider of both embeddings has, then an average over positions and a linear
layer. Transformers get the same heads here, on their maps; the authors give those a block on tokens instead.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms, lacking
from methods._settings import LogUniform, NonNegative, Positive, Uniform


def ofa_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    exponent: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """-sum_k ((p_t + y)^exponent - y) log p_s, mean over the batch; y is 1 at the label, else 0; p at temperature T.

    student, teacher: logits [N, classes]; labels: [N] -> scalar. No gradient reaches the teacher.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    at_label = F.one_hot(labels, student.shape[1]).to(student.dtype)
    target = (F.softmax(teacher.detach() / temperature, dim=1) + at_label).pow(exponent) - at_label
    return -(target * log_student).sum(dim=1).mean()


class OneForAll(Method):
    """Every stage of the student predicts what the teacher predicts."""

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
        stages: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        exponent: Annotated[float, Positive, Uniform(1.0, 2.0)] = 1.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.stages, self.exponent, self.temperature = (
            weight,
            stages,
            exponent,
            temperature,
        )
        self.ce = ce
        self.heads = nn.ModuleList()

    def supports(self, probe: Probe) -> str | None:
        """Needs the student's maps; nothing but logits of the teacher."""
        return None if probe.student.maps else lacking(probe, "student", "maps")

    def build(self, probe: Probe) -> None:
        """Makes a head for each stage of the student."""
        maps = probe.student.maps
        width = max(maps[-1][0], *probe.student.embedding, *probe.teacher.embedding)
        for stage, (channels, *_) in enumerate(maps):
            self.heads.append(
                _head(channels, width, len(maps) - 1 - stage, probe.teacher.logits[0])
            )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms: `ofa`, of the student's own logits, and `stages`, the sum over its heads."""
        given = (teacher.logits, batch.labels, self.exponent, self.temperature)
        heads = [
            ofa_loss(head(one), *given) for head, one in zip(self.heads, student.maps, strict=True)
        ]
        return {
            "ofa": (self.weight, ofa_loss(student.logits, *given)),
            "stages": (self.stages, torch.stack(heads).sum()),
        }


def _head(channels: int, width: int, halvings: int, classes: int) -> nn.Module:
    """[N, channels, H, W] -> logits [N, classes], through `halvings` separable convolutions of stride 2."""
    layers: list[nn.Module] = []
    for left in range(halvings, 0, -1):
        out = width if left == 1 else 2 * channels
        for source, stride, target in ((channels, 2, channels), (channels, 1, out)):
            layers += [
                nn.Conv2d(source, source, 3, stride=stride, padding=1, groups=source, bias=False),
                nn.Conv2d(source, target, 1, bias=False),
                nn.BatchNorm2d(target),
                nn.ReLU(),
            ]
        channels = out
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )
