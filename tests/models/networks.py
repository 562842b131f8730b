"""Networks and shorthands for tests of models."""

from __future__ import annotations

import torch
from torch import nn

from benchmark.models.create import tapped
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from methods import Needs

SIZE = (3, 32, 32)
MEAN = (0.5, 0.4, 0.3)
STD = (0.25, 0.2, 0.3)

VIT = ("test_vit", {"img_size": 32, "patch_size": 8})

SWIN = (
    "swin_tiny_patch4_window7_224",
    {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]},
)
"""Its blocks give maps as NHWC."""

EVERYTHING = Needs(logits=True, embedding=True, maps=True)


def build(name, kwargs=None, size=SIZE, classes=10, **options):
    """Create and tap a network, with the same weights at each call, in eval mode."""
    torch.manual_seed(0)
    network = Network(model=name, kwargs=kwargs or {}, **options)
    channels = size[0]
    where = "pairs[0].student"
    return tapped(network, where, size, classes, MEAN[:channels], STD[:channels]).eval()


def tap(network):
    """Tap a network in eval mode."""
    return TappedModel(network, SIZE, MEAN, STD).eval()


def normalised(images, mean, std):
    """Images after a normalisation."""
    return (images - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


class Plain(nn.Module):
    """A network without any of timm's methods."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3)))


class Pointwise(Plain):
    """A network whose classifier is a 1x1 convolution over the pooled map."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 10, 1)

    def get_classifier(self):
        return self.head

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3), keepdim=True)).flatten(1)


class Convolutional(Plain):
    """A fully convolutional network, whose classifier takes maps."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 10, 1)

    def get_classifier(self):
        return self.head

    def forward(self, images):
        return self.head(self.conv(images)).mean(dim=(2, 3))
