"""VGG nets with batch norm.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
arXiv:1409.1556. Five stages of 3x3 convolutions with bias, batch norm and ReLU. Configurations A, B, D and E of the
paper's table 1 are vgg11, 13, 16 and 19; vgg8 has one convolution a stage, as RepDistiller defines it.

Pinned: Kaiming initialisation of convolutions with zero bias; classifier normal with 0.01 and zero bias.
Differs from the paper, as RepDistiller: batch norm; 2x2 max-pooling stands after the first three stages only, so that a
32x32 image leaves the last stage as 4x4; average pooling to 512 features and one linear layer in place of three.
Differs from RepDistiller: it pools a fourth time for 64x64 images; here all sizes have the same three poolings.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.zoo._stages import StagedNet, conv3x3, initialise, register

WIDTHS = (64, 128, 256, 512, 512)

CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Depth -> convolutions of each stage."""


class Stage(nn.Sequential):
    """Convolutions with norm and ReLU between them; the ReLU after the last norm is `forward`'s."""

    def __init__(self, convolutions: int, inputs: int, outputs: int, pool: bool):
        layers: list[nn.Module] = []
        for place in range(convolutions):
            layers += [
                conv3x3(outputs if place else inputs, outputs, bias=True),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        super().__init__(*layers[:-1])
        self.pool = pool

    def before_relu(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W], or halved where the stage begins with pooling."""
        x = F.max_pool2d(x, 2) if self.pool else x
        for layer in self:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The same after the last ReLU."""
        return F.relu(self.before_relu(x))


class VGG(StagedNet):
    """Five stages of convolutions.  convolutions: how many each has."""

    head = "classifier"
    count = 5

    def __init__(
        self,
        convolutions: Sequence[int] = CONVOLUTIONS[13],
        num_classes: int = 100,
        in_chans: int = 3,
    ):
        super().__init__(WIDTHS, (1, 2, 4, 8, 8), tuple(f"block{place}" for place in range(5)))
        self.num_features = WIDTHS[-1]
        for place, (inputs, outputs) in enumerate(
            zip((in_chans, *WIDTHS[:-1]), WIDTHS, strict=True)
        ):
            self.add_module(
                f"block{place}",
                Stage(convolutions[place], inputs, outputs, pool=place in (1, 2, 3)),
            )
        self.reset_classifier(num_classes)
        initialise(self)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the classifier by a fresh one, small and without bias, or with 0 classes by the identity."""
        super().reset_classifier(num_classes, global_pool)
        classifier = self.get_classifier()
        if isinstance(classifier, nn.Linear):
            nn.init.normal_(classifier.weight, std=0.01)
            nn.init.zeros_(classifier.bias)

    def stem(self, x: Tensor) -> Tensor:
        """Nothing: the first stage reads the image."""
        return x

    def before_relu(self, place: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input of the stage at `place` -> (its output, its output before its last ReLU)."""
        stage = self.stages()[place]
        assert isinstance(stage, Stage)
        before = stage.before_relu(x)
        return F.relu(before), before


register(
    VGG,
    {
        f"cifar_vgg{depth}": {"convolutions": convolutions}
        for depth, convolutions in CONVOLUTIONS.items()
    },
    first_conv="block0.0",
)
