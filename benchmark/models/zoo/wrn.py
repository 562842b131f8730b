"""Wide ResNets.

Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, arXiv:1605.07146.

`cifar_wrn_D_K` has depth D = 6n + 4 and width K: a 3x3 stem of 16 channels, three stages of n
pre-activation blocks with 16K, 32K and 64K channels, a last batch norm with ReLU, and average
pooling. Blocks are B(3,3), without dropout.

Pinned: Kaiming initialisation of convolutions, zero bias of the classifier; a shortcut that
changes the shape is a 1x1 convolution without norm and reads the block's activated input.

Taps, as in RepDistiller: a stage's map is the sum that its last block returns, without a ReLU. The
stage's map before the ReLU is that sum after the next batch norm, which belongs to the next stage's
first block or is the network's last norm. `relu(before)` is therefore not the stage's map but the
input of the next convolution or of the pooling. The sums have no ReLU of their own, and the normed
sums are closest to the activation boundary that methods like AB and OFD transfer.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import (
    StagedNet,
    blocks_per_stage,
    conv1x1,
    conv3x3,
    initialise,
)


class PreActivationBlock(nn.Module):
    """A block that applies norm, ReLU and a 3x3 convolution twice."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        # This is the shortcut's name in public checkpoints.
        self.convShortcut = conv1x1(inputs, outputs, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / stride, W / stride]."""
        activated = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        new: Tensor = F.relu(self.bn2(self.conv1(activated)), inplace=True)
        new = self.conv2(new)
        return shortcut + new


class Stage(nn.Module):
    """Pre-activation blocks, the first of which may change the width and the size."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int):
        super().__init__()
        rest = [PreActivationBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(PreActivationBlock(inputs, outputs, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum that the last block computes."""
        maps: Tensor = self.layer(x)
        return maps


class WideResNet(StagedNet):
    """Three stages of pre-activation blocks.

    Args:
        depth: Number of layers, 6n + 4.
        width: Factor by which the stages' 16, 32 and 64 channels are multiplied.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    def __init__(self, depth: int = 16, width: int = 2, num_classes: int = 100, in_chans: int = 3):
        widths = (16 * width, 32 * width, 64 * width)
        super().__init__(widths, (1, 2, 4), ("block1", "block2", "block3"))
        self.num_features = widths[-1]
        self.conv1 = conv3x3(in_chans, 16)
        blocks = blocks_per_stage(depth, 4)
        self.block1 = Stage(blocks, 16, widths[0], 1)
        self.block2 = Stage(blocks, widths[0], widths[1], 2)
        self.block3 = Stage(blocks, widths[1], widths[2], 2)
        self.bn1 = nn.BatchNorm2d(widths[-1])
        self.reset_classifier(num_classes)
        initialise(self)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier with a new one with zero bias, or with the identity."""
        super().reset_classifier(num_classes, global_pool)
        if isinstance(self.fc, nn.Linear):
            nn.init.zeros_(self.fc.bias)

    def stem(self, x: Tensor) -> Tensor:
        """Run the convolution alone: the first block begins with a norm."""
        maps: Tensor = self.conv1(x)
        return maps

    def tail(self, x: Tensor) -> Tensor:
        """Run the last norm and ReLU."""
        return F.relu(self.bn1(x))

    def normed(self, x: Tensor) -> Tensor:
        """Return the deepest map after the last norm and ReLU."""
        return self.tail(x)

    def before_relu(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a stage; return its sum, and the sum after the norm of the next layer."""
        x = self.stages()[index](x)
        next_norm = self.bn1
        if index < 2:
            next_block = (self.block2, self.block3)[index].layer[0]
            assert isinstance(next_block, PreActivationBlock)
            next_norm = next_block.bn1

        return x, _normalised(next_norm, x)


def _normalised(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply a norm without updating its running statistics a second time."""
    mean = None if norm.training else norm.running_mean
    variance = None if norm.training else norm.running_var
    return F.batch_norm(
        x, mean, variance, norm.weight, norm.bias, training=norm.training, eps=norm.eps
    )


SIZES = ((16, 1), (16, 2), (40, 1), (40, 2))
"""Depth and width of each network."""

register(
    WideResNet,
    {f"cifar_wrn_{depth}_{width}": {"depth": depth, "width": width} for depth, width in SIZES},
    first_conv="conv1",
)
