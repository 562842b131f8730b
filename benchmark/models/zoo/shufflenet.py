"""ShuffleNets.

V1: Zhang et al., "ShuffleNet: An Extremely Efficient CNN for Mobile Devices", CVPR 2018,
arXiv:1707.01083: 3 groups, stages of 240, 480 and 960 channels.
V2: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV
2018, arXiv:1807.11164: width 1, stages of 116, 232 and 464 channels and a last convolution to 1024.

Pinned: PyTorch's own initialisation of convolutions and classifier, since RepDistiller sets none
for these two networks.
Differs from the papers, as in RepDistiller: the stem is a 1x1 convolution to 24 channels without
stride or max-pooling, so that 32x32 images leave the last stage as 4x4 maps. V1 has a ReLU after
its depthwise convolution, unlike in the paper.

Taps: V2's map before the ReLU contains half of the last block's input unchanged. That half is the
output of a ReLU, so `relu(before)` is still the stage's map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import Block, StagedNet, conv1x1, conv3x3

STEM = 24
"""Channels of the stem."""

BLOCKS = (4, 8, 4)
"""Number of blocks in each stage."""


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Distribute the channels of each group over all groups; the shape is [N, C, H, W]."""
    samples, channels, height, width = x.shape
    grouped = x.view(samples, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(samples, channels, height, width)


class GroupedBlock(Block):
    """A block of V1: a grouped 1x1, a depthwise 3x3 and a grouped 1x1 convolution.

    The channels are shuffled after the first convolution. With stride 2, the average-pooled input
    is concatenated with the new channels; otherwise, the input is added to them.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int):
        super().__init__()
        new = outputs - inputs if stride == 2 else outputs
        middle = new // 4
        self.stride = stride
        self.groups = 1 if inputs == STEM else groups
        self.conv1 = conv1x1(inputs, middle, groups=self.groups)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = conv3x3(middle, middle, stride, groups=middle)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = conv1x1(middle, new, groups=groups)
        self.bn3 = nn.BatchNorm2d(new)

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / stride, W / stride]."""
        middle = shuffled(F.relu(self.bn1(self.conv1(x)), inplace=True), self.groups)
        middle = F.relu(self.bn2(self.conv2(middle)), inplace=True)
        new: Tensor = self.bn3(self.conv3(middle))
        if self.stride == 2:
            shortcut = F.avg_pool2d(x, 3, stride=2, padding=1)
            return torch.cat([new, shortcut], dim=1)

        return new + x


class DownBlock(Block):
    """A block of V2: two branches that each halve the size and compute half of the channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.conv1 = conv3x3(inputs, inputs, 2, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = conv1x1(inputs, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(inputs, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = conv3x3(half, half, 2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / 2, W / 2]."""
        left = self.bn1(self.conv1(x))
        left = self.bn2(self.conv2(left))
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = self.bn4(self.conv4(right))
        right = self.bn5(self.conv5(right))
        return shuffled(torch.cat([left, right], dim=1), 2)


class SplitBlock(Block):
    """A block of V2: half of the channels are recomputed, and the others pass through unchanged.

    The unchanged channels must not be negative, since the block ends in a ReLU.
    """

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.conv1 = conv1x1(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn maps [N, channels, H, W] into new maps of the same shape."""
        untouched, new = x.chunk(2, dim=1)
        new = F.relu(self.bn1(self.conv1(new)), inplace=True)
        new = self.bn2(self.conv2(new))
        new = self.bn3(self.conv3(new))
        return shuffled(torch.cat([untouched, new], dim=1), 2)


class ShuffleNetV1(StagedNet):
    """Three stages of grouped blocks.

    Args:
        groups: Groups of the 1x1 convolutions.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    head = "linear"

    def __init__(self, groups: int = 3, num_classes: int = 100, in_chans: int = 3):
        widths = (240, 480, 960)
        super().__init__(widths, (2, 4, 8), ("layer1", "layer2", "layer3"))
        self.num_features = widths[-1]
        self.conv1 = conv1x1(in_chans, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        inputs = STEM
        for number, (outputs, blocks) in enumerate(zip(widths, BLOCKS, strict=True), 1):
            rest = [GroupedBlock(outputs, outputs, 1, groups) for _ in range(blocks - 1)]
            stage = nn.Sequential(GroupedBlock(inputs, outputs, 2, groups), *rest)
            self.add_module(f"layer{number}", stage)
            inputs = outputs
        self.reset_classifier(num_classes)


class ShuffleNetV2(StagedNet):
    """Three stages of split blocks, and a last convolution."""

    head = "linear"

    def __init__(self, num_classes: int = 100, in_chans: int = 3):
        widths = (116, 232, 464)
        super().__init__(widths, (2, 4, 8), ("layer1", "layer2", "layer3"))
        self.num_features = 1024
        self.conv1 = conv1x1(in_chans, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        inputs = STEM
        for number, (outputs, blocks) in enumerate(zip(widths, BLOCKS, strict=True), 1):
            rest = [SplitBlock(outputs) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(DownBlock(inputs, outputs), *rest))
            inputs = outputs
        self.conv2 = conv1x1(widths[-1], self.num_features)
        self.bn2 = nn.BatchNorm2d(self.num_features)
        self.reset_classifier(num_classes)

    def tail(self, x: Tensor) -> Tensor:
        """Run the last 1x1 convolution."""
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


register(ShuffleNetV1, {"cifar_shufflenetv1": {}}, first_conv="conv1")
register(ShuffleNetV2, {"cifar_shufflenetv2": {}}, first_conv="conv1")
