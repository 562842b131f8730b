"""MobileNetV2 of half width.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, arXiv:1801.04381. RepDistiller's
`mobile_half`: the paper's table 2 with half of all channel numbers but the last, 1280. Its seven settings make four
stages, which end with 12, 16, 48 and 160 channels.

Pinned: Kaiming initialisation of convolutions; classifier normal with 0.01 and zero bias.
Differs from the paper, as RepDistiller: ReLU in place of ReLU6; the second of the seven settings has stride 1, so that
32x32 images are divided by 16 and not 32; the first block has an expanding convolution too; no dropout.

Taps: the bottlenecks are linear, so a stage's map has seen no ReLU, and is its own map before the ReLU.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._stages import StagedNet, conv1x1, conv3x3, initialise, register

SETTINGS = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
"""Stage by stage: expansion, channels, blocks, and stride of the first block."""


class InvertedResidual(nn.Sequential):
    """Wide between two narrow ends: expanding 1x1, depthwise 3x3, and linear 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        wide = inputs * expansion
        super().__init__(
            conv1x1(inputs, wide),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            conv3x3(wide, wide, stride, groups=wide),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            conv1x1(wide, outputs),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        new = x
        for layer in self:
            new = layer(new)
        return x + new if self.residual else new


class MobileNetV2(StagedNet):
    """Inverted residuals in four stages.  width: factor of the channel numbers."""

    head = "classifier"
    count = 4

    def __init__(self, width: float = 0.5, num_classes: int = 100, in_chans: int = 3):
        channels = [int(settings[-1][1] * width) for settings in SETTINGS]
        super().__init__(channels, (2, 4, 8, 16), ("layer1", "layer2", "layer3", "layer4"))
        self.num_features = 1280
        inputs = int(32 * width)
        self.conv1 = conv3x3(in_chans, inputs, stride=2)
        self.bn1 = nn.BatchNorm2d(inputs)
        for place, settings in enumerate(SETTINGS, 1):
            blocks = []
            for expansion, plain, count, stride in settings:
                outputs = int(plain * width)
                for first in range(count):
                    blocks.append(
                        InvertedResidual(inputs, outputs, 1 if first else stride, expansion)
                    )
                    inputs = outputs
            self.add_module(f"layer{place}", nn.Sequential(*blocks))
        self.conv2 = conv1x1(inputs, self.num_features)
        self.bn2 = nn.BatchNorm2d(self.num_features)
        self.reset_classifier(num_classes)
        initialise(self)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the classifier by a fresh one, small and without bias, or with 0 classes by the identity."""
        super().reset_classifier(num_classes, global_pool)
        classifier = self.get_classifier()
        if isinstance(classifier, nn.Linear):
            nn.init.normal_(classifier.weight, std=0.01)
            nn.init.zeros_(classifier.bias)

    def tail(self, x: Tensor) -> Tensor:
        """The last 1x1 convolution."""
        return F.relu(self.bn2(self.conv2(x)))

    def before_relu(self, place: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input of the stage at `place` -> its output, twice: it is linear."""
        x = self.stages()[place](x)
        return x, x


register(MobileNetV2, {"cifar_mobilenetv2_half": {"width": 0.5}}, first_conv="conv1")
