"""CIFAR ResNets.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
arXiv:1512.03385. These are the networks of section 4.2: a 3x3 stem, three stages of n basic blocks
each (depth 6n + 2) and average pooling. `x4` networks have a stem of 32 and stages of 64, 128 and
256 channels, as RepDistiller defines them. `cifar_resnet50` is the ImageNet network of bottleneck
blocks with a CIFAR stem: 3x3, stride 1, without max-pooling.

Pinned: Kaiming initialisation of convolutions, PyTorch's defaults for batch norm and classifier;
stride on the 3x3 convolution of a bottleneck. Parameters have chenyaofo's names
(pytorch-cifar-models), so those weights can be loaded.
Differs from the paper: a shortcut that changes the shape is a 1x1 convolution with batch norm
(option B), whereas section 4.2 pads with zeros (option A). Option B adds 2,752 parameters to each
16-32-64 network.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import (
    Block,
    StagedNet,
    blocks_per_stage,
    conv1x1,
    conv3x3,
    initialise,
)


class BasicBlock(Block):
    """A block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = projection(inputs, outputs, stride)

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / stride, W / stride]."""
        new: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        new = self.bn2(self.conv2(new))
        return new + (x if self.downsample is None else self.downsample(x))


class Bottleneck(Block):
    """A 1x1, a 3x3 and a 1x1 convolution; the output is four times as wide as the middle."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        middle = outputs // 4
        self.conv1 = conv1x1(inputs, middle)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = conv3x3(middle, middle, stride)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = conv1x1(middle, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = projection(inputs, outputs, stride)

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / stride, W / stride]."""
        new: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        new = F.relu(self.bn2(self.conv2(new)), inplace=True)
        new = self.bn3(self.conv3(new))
        return new + (x if self.shortcut is None else self.shortcut(x))


class ResNet(StagedNet):
    """Three stages of basic blocks.

    Args:
        depth: Number of layers, 6n + 2.
        channels: Channels of the stem and of each stage.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    def __init__(
        self,
        depth: int = 20,
        channels: Sequence[int] = (16, 16, 32, 64),
        num_classes: int = 100,
        in_chans: int = 3,
    ):
        stem, *widths = channels
        super().__init__(widths, (1, 2, 4), ("layer1", "layer2", "layer3"))
        self.num_features = widths[-1]
        self.conv1 = conv3x3(in_chans, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        blocks = blocks_per_stage(depth, 2)
        self.layer1 = stage(BasicBlock, blocks, stem, widths[0], 1)
        self.layer2 = stage(BasicBlock, blocks, widths[0], widths[1], 2)
        self.layer3 = stage(BasicBlock, blocks, widths[1], widths[2], 2)
        self.reset_classifier(num_classes)
        initialise(self)


class BottleneckResNet(StagedNet):
    """ResNet-50 for small images: four stages of bottleneck blocks.

    Args:
        blocks: Number of blocks in each stage.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    head = "linear"
    count = 4

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), num_classes: int = 100, in_chans: int = 3
    ):
        widths = (256, 512, 1024, 2048)
        super().__init__(widths, (1, 2, 4, 8), ("layer1", "layer2", "layer3", "layer4"))
        self.num_features = 2048
        self.conv1 = conv3x3(in_chans, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(Bottleneck, blocks[0], 64, 256, 1)
        self.layer2 = stage(Bottleneck, blocks[1], 256, 512, 2)
        self.layer3 = stage(Bottleneck, blocks[2], 512, 1024, 2)
        self.layer4 = stage(Bottleneck, blocks[3], 1024, 2048, 2)
        self.reset_classifier(num_classes)
        initialise(self)


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Create the shortcut of a block that changes the shape; return None for any other block."""
    if inputs == outputs and stride == 1:
        return None

    return nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))


def stage(
    block: type[BasicBlock] | type[Bottleneck], blocks: int, inputs: int, outputs: int, stride: int
) -> nn.Sequential:
    """Create the blocks of a stage, the first of which may change the width and the size."""
    rest = [block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, outputs, stride), *rest)


DEPTHS = (8, 14, 20, 32, 44, 56, 110)
FOURFOLD_DEPTHS = (8, 32)
FOURFOLD = (32, 64, 128, 256)

register(
    ResNet,
    {
        **{f"cifar_resnet{depth}": {"depth": depth} for depth in DEPTHS},
        **{
            f"cifar_resnet{depth}x4": {"depth": depth, "channels": FOURFOLD}
            for depth in FOURFOLD_DEPTHS
        },
    },
    first_conv="conv1",
)

register(BottleneckResNet, {"cifar_resnet50": {}}, first_conv="conv1")
