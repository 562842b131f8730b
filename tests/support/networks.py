"""The networks that most tests train: three convolutions each, so that training takes no time.

Importing this module registers them in timm. They have every tap that a method can need.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import Block, StagedNet, conv3x3

TEACHER, STUDENT = "tests_teacher", "tests_student"

STAGES = ("stage1", "stage2", "stage3")


class Convolution(Block):
    """A 3x3 convolution with norm and ReLU, which halves the map."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv3x3(inputs, outputs, stride=2)
        self.bn = nn.BatchNorm2d(outputs)

    def before_relu(self, x):
        return self.bn(self.conv(x))


class Tiny(StagedNet):
    """Three stages of one convolution each."""

    def __init__(self, widths: Sequence[int] = (8, 16, 32), num_classes=10, in_chans=3):
        super().__init__(widths, (2, 4, 8), STAGES)
        self.num_features = widths[-1]
        inputs = in_chans
        for name, outputs in zip(STAGES, widths, strict=True):
            self.add_module(name, nn.Sequential(Convolution(inputs, outputs)))
            inputs = outputs
        self.reset_classifier(num_classes)

    def stem(self, x):
        return x


register(
    Tiny,
    {TEACHER: {"widths": (12, 24, 48)}, STUDENT: {"widths": (8, 16, 32)}},
    first_conv="stage1.0.conv",
)
