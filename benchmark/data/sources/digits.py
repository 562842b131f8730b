"""The digits of scikit-learn."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from benchmark.data.sources.base import Part, Source
from benchmark.data.split import stratified, without


class _Digits(Part):
    def __init__(self, pixels: Tensor, labels: Tensor):
        self.pixels, self.labels = pixels, labels

    def where(self, place: int) -> str:
        return f"digits: image {place}"

    def read(self, place: int) -> Image.Image:
        return Image.fromarray(self.pixels[place].numpy())


def digits() -> Source:
    """scikit-learn's digits: 1,797 real images of 8x8, here 32x32 RGB. No test set comes with it: a quarter is one."""
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
        _Digits(pixels[train], labels[train]), _Digits(pixels[test], labels[test]), classes=10
    )
