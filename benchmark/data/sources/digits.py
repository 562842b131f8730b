"""The digits of scikit-learn: 1,797 real images that come with the package."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from benchmark.data.sources.base import Located, Part, Source, SourceKind
from benchmark.data.split import stratified, without
from benchmark.study import schema


class Digits(SourceKind[schema.Digits]):
    """`digits`: the digits of scikit-learn."""

    prefix = "digits"

    def locate(self, dataset: schema.Digits, argument: str) -> Located:
        """Find the digits, which need no files."""
        return Located(None, lambda _: _load())


class _Digits(Part):
    """Digit images in memory, uint8 [N, H, W]."""

    def __init__(self, pixels: Tensor, labels: Tensor):
        self.pixels = pixels
        self.labels = labels

    def where(self, index: int) -> str:
        return f"digits: image {index}"

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index].numpy())


def _load() -> Source:
    """Enlarge the 8x8 images to 32x32, and hold out a quarter of them as the test set."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images)[:, None]
    large = torch.nn.functional.interpolate(
        small, scale_factor=4, mode="bilinear", align_corners=False
    )
    pixels = (large[:, 0] * 255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).to(torch.int64)

    test = stratified(labels, len(labels) // 4, "digits/test")
    train = without(len(labels), test)
    return Source(
        train=_Digits(pixels[train], labels[train]),
        test=_Digits(pixels[test], labels[test]),
        classes=10,
    )
