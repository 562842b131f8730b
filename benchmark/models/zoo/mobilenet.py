"""MobileNetV2 with half width.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
arXiv:1801.04381. This is RepDistiller's `mobile_half`: the network of the paper's table 2, with all
channel counts halved except the last, 1280. The table's seven settings form four stages, which end
with 12, 16, 48 and 160 channels.

Pinned: Kaiming initialisation of convolutions; normal classifier weights with standard deviation
0.01, and zero bias.
Differs from the paper, as in RepDistiller: ReLU in place of ReLU6; the second of the seven
settings has stride 1, so that images are downsampled by a factor of 16 instead of 32; the first
block has an expanding convolution too; no dropout.

Taps: the bottlenecks are linear, so a stage does not end in a ReLU. The stage's map therefore also
serves as its map before the ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import (
    StagedNet,
    conv1x1,
    conv3x3,
    initialise,
    initialise_small,
)

SETTINGS = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
"""Settings of each stage: expansion, channels, blocks, and stride of the first block."""


class InvertedResidual(nn.Sequential):
    """A block with a wide middle between two narrow ends.

    The layers are an expanding 1x1, a depthwise 3x3 and a linear 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        middle = inputs * expansion
        super().__init__(
            conv1x1(inputs, middle),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            conv3x3(middle, middle, stride, groups=middle),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            conv1x1(middle, outputs),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H / stride, W / stride]."""
        new = x
        for layer in self:
            new = layer(new)

        return x + new if self.residual else new


class MobileNetV2(StagedNet):
    """Inverted residuals in four stages.

    Args:
        width: Factor by which all channel counts except the last are multiplied.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    head = "classifier"
    count = 4

    def __init__(self, width: float = 0.5, num_classes: int = 100, in_chans: int = 3):
        channels = [int(settings[-1][1] * width) for settings in SETTINGS]
        super().__init__(channels, (2, 4, 8, 16), ("layer1", "layer2", "layer3", "layer4"))
        self.num_features = 1280
        inputs = int(32 * width)
        self.conv1 = conv3x3(in_chans, inputs, stride=2)
        self.bn1 = nn.BatchNorm2d(inputs)
        for number, settings in enumerate(SETTINGS, 1):
            self.add_module(f"layer{number}", _stage(inputs, settings, width))
            inputs = channels[number - 1]
        self.conv2 = conv1x1(inputs, self.num_features)
        self.bn2 = nn.BatchNorm2d(self.num_features)
        self.reset_classifier(num_classes)
        initialise(self)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier with a new one with small weights, or with the identity."""
        super().reset_classifier(num_classes, global_pool)
        initialise_small(self.get_classifier())

    def tail(self, x: Tensor) -> Tensor:
        """Run the last 1x1 convolution."""
        return F.relu(self.bn2(self.conv2(x)), inplace=True)

    def before_relu(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a stage; return its output twice, since the stage does not end in a ReLU."""
        x = self.stages()[index](x)
        return x, x


def _stage(
    inputs: int, settings: Sequence[tuple[int, int, int, int]], width: float
) -> nn.Sequential:
    """Create the blocks of a stage."""
    blocks: list[nn.Module] = []
    for expansion, channels, count, stride in settings:
        outputs = int(channels * width)
        for number in range(count):
            block_stride = stride if number == 0 else 1
            blocks.append(InvertedResidual(inputs, outputs, block_stride, expansion))
            inputs = outputs

    return nn.Sequential(*blocks)


register(MobileNetV2, {"cifar_mobilenetv2_half": {"width": 0.5}}, first_conv="conv1")
