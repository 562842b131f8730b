"""VGG networks with batch norm.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
2015, arXiv:1409.1556. Five stages of 3x3 convolutions with bias, batch norm and ReLU.
Configurations A, B, D and E of the paper's table 1 are vgg11, 13, 16 and 19; vgg8 has one
convolution per stage, as RepDistiller defines it.

Pinned: Kaiming initialisation of convolutions with zero bias; normal classifier weights with
standard deviation 0.01, and zero bias.
Differs from the paper, as in RepDistiller: batch norm; 2x2 max-pooling only after the first three
stages, so that a 32x32 image leaves the last stage as a 4x4 map; average pooling to 512 features
and one linear layer in place of three.
Differs from RepDistiller, which pools a fourth time for 64x64 images: here, images of all sizes are
pooled three times.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import StagedNet, conv3x3, initialise, initialise_small

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each stage."""

CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Number of convolutions in each stage, by depth."""


class Stage(nn.Sequential):
    """Convolutions with norm and ReLU between them; `forward` adds the last ReLU.

    Args:
        convolutions: Number of convolutions.
        inputs: Channels of the stage's input.
        outputs: Channels of the stage's output.
        pool: Whether the stage begins with max-pooling.
    """

    def __init__(self, convolutions: int, inputs: int, outputs: int, pool: bool):
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            layers += [
                conv3x3(inputs, outputs, bias=True),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            inputs = outputs
        super().__init__(*layers[:-1])
        self.pool = pool

    def before_relu(self, x: Tensor) -> Tensor:
        """Turn [N, inputs, H, W] into [N, outputs, H, W]; max-pooling, if any, halves H and W."""
        if self.pool:
            x = F.max_pool2d(x, 2)
        for layer in self:
            x = layer(x)

        return x

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage with its last ReLU."""
        return F.relu(self.before_relu(x), inplace=True)


class VGG(StagedNet):
    """Five stages of convolutions.

    Args:
        convolutions: Number of convolutions in each stage.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    head = "classifier"
    count = 5

    def __init__(
        self,
        convolutions: Sequence[int] = CONVOLUTIONS[13],
        num_classes: int = 100,
        in_chans: int = 3,
    ):
        super().__init__(WIDTHS, (1, 2, 4, 8, 8), [f"block{index}" for index in range(5)])
        self.num_features = WIDTHS[-1]
        inputs = in_chans
        for index, outputs in enumerate(WIDTHS):
            stage = Stage(convolutions[index], inputs, outputs, pool=index in (1, 2, 3))
            self.add_module(f"block{index}", stage)
            inputs = outputs
        self.reset_classifier(num_classes)
        initialise(self)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier with a new one with small weights, or with the identity."""
        super().reset_classifier(num_classes, global_pool)
        initialise_small(self.get_classifier())

    def stem(self, x: Tensor) -> Tensor:
        """Return the images unchanged: the network has no stem."""
        return x

    def before_relu(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a stage; return its output after and before its last ReLU."""
        stage = self.stages()[index]
        assert isinstance(stage, Stage)
        early = stage.before_relu(x)
        return F.relu(early), early


register(
    VGG,
    {
        f"cifar_vgg{depth}": {"convolutions": convolutions}
        for depth, convolutions in CONVOLUTIONS.items()
    },
    first_conv="block0.0",
)
