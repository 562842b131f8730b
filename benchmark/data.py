"""Data sets -> splits -> batches on the device. Test images stay sealed until a cell is finished.

Images live on the device as uint8 [N, C, H, W]; a batch is gathered there by index, augmented there, and handed out as
float32 in [0, 1]: each network normalises for itself.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import streams
from benchmark.errors import InputError
from benchmark.journal import Finished
from benchmark.study import Augmentation, Dataset, Split


@dataclass(frozen=True)
class Images:
    """A labelled set of images on the CPU.  images: uint8 [N, C, H, W]; labels: int64 [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Images:
        """The images at some places."""
        return Images(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> Images:
        """The same on a device."""
        return Images(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Source:
    """A data set as it comes: its own training and test images."""

    train: Images
    test: Images
    classes: int

    def fingerprint(self) -> str:
        """SHA-256 over all pixels and labels, and their shapes."""
        digest = hashlib.sha256()
        for part in (self.train.images, self.train.labels, self.test.images, self.test.labels):
            digest.update(repr((tuple(part.shape), str(part.dtype))).encode())
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()


def stratified(labels: Tensor, count: int, key: str) -> Tensor:
    """`count` places, each class in proportion (largest remainders), sorted.  labels: [N] -> int64 [count].

    Which images of a class are drawn is decided by a hash of the key and the place: the same on every machine and in
    every version of every library.
    """
    classes, sizes = np.unique(labels.numpy(), return_counts=True)
    exact = sizes * (count / len(labels))
    take = np.floor(exact).astype(int)
    take[np.argsort(-(exact - take), kind="stable")[: count - take.sum()]] += 1
    chosen: list[int] = []
    for label, number in zip(classes, take, strict=True):
        places = np.flatnonzero(labels.numpy() == label).tolist()
        chosen += sorted(places, key=lambda place: hashlib.sha256(f"{key}/{place}".encode()).digest())[:number]
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _without(count: int, index: Tensor) -> Tensor:
    keep = torch.ones(count, dtype=torch.bool)
    keep[index] = False
    return keep.nonzero().flatten()


def _digits() -> Source:
    """scikit-learn's digits: 1,797 real images of 8x8, here 32x32 RGB. No test set comes with it: a quarter is one."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images)[:, None]
    large = F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    pixels = (large * 255 / 16).round().to(torch.uint8).repeat(1, 3, 1, 1)
    every = Images(pixels, torch.from_numpy(bunch.target).to(torch.int64))
    test = stratified(every.labels, len(every) // 4, "digits/test")
    return Source(every.take(_without(len(every), test)), every.take(test), classes=10)


SOURCES: dict[str, Callable[[], Source]] = {"digits": _digits}


def load_source(dataset: Dataset) -> Source:
    """The data set of a study. Raises InputError for a name that is none."""
    if dataset.name not in SOURCES:
        near = difflib.get_close_matches(dataset.name, SOURCES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SOURCES)}"
        raise InputError(f"dataset: no data set {dataset.name!r}; {hint}")
    return SOURCES[dataset.name]()


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Each image after zero padding, cut to its old size from its own corner.

    images: [N, C, H, W]; top, left: int64 [N], 0 to 2 * padding -> [N, C, H, W].
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    device = images.device
    rows = (top[:, None] + torch.arange(height, device=device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=device))[:, None, None, :]
    sample = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[sample, channel, rows, columns]


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """The chosen images mirrored left to right.  images: [N, C, H, W]; chosen: bool [N]."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


class Data:
    """A data set under a study's split, on a device."""

    def __init__(self, dataset: Dataset, split: Split, device: torch.device):
        """Loads and divides. Raises InputError if the split leaves no images."""
        source = load_source(dataset)
        self.name, self.classes, self.device = dataset.name, source.classes, device
        self.fingerprint = source.fingerprint()
        total = len(source.train)
        held = round(total * split.val) if split.val < 1 else int(split.val)
        if not 0 < held < total:
            raise InputError(f"split.val is {split.val:g}: {held} of {total} images for validation leaves nothing")
        self.val_index = stratified(source.train.labels, held, f"{split.seed}/val")
        self.train_index = _without(total, self.val_index)
        if split.train_samples is not None:
            if split.train_samples > len(self.train_index):
                left = len(self.train_index)
                raise InputError(f"split.train_samples is {split.train_samples}; the split leaves {left} images")
            labels = source.train.labels[self.train_index]
            limit = stratified(labels, split.train_samples, f"{split.seed}/train")
            self.train_index = self.train_index[limit]
        pixels = source.train.images.to(torch.float64) / 255
        self.mean = tuple(pixels.mean(dim=(0, 2, 3)).tolist())
        self.std = tuple(pixels.std(dim=(0, 2, 3), correction=0).clamp_min(1e-6).tolist())
        self.train = source.train.take(self.train_index).to(device)
        self.val = source.train.take(self.val_index).to(device)
        self._test = source.test

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def split_record(self) -> dict[str, list[int]]:
        """Which of the source's training images train and which validate."""
        return {"train": self.train_index.tolist(), "val": self.val_index.tolist()}

    def test(self, evidence: Finished) -> Images:
        """The test images, for a cell whose training is over. Raises SealedError for any other."""
        evidence.verify()
        return self._test.to(self.device)

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch; the last incomplete one is left out. Raises InputError if there is none."""
        steps = len(self.train) // batch_size
        if steps == 0:
            raise InputError(f"recipe.batch_size is {batch_size}; there are only {len(self.train)} training images")
        return steps

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augmentation: Augmentation
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The batches of one epoch: images float32 [N, C, H, W] in [0, 1], labels [N], and places in the training set.

        Order and augmentation depend on seed and epoch alone, and are drawn on the CPU for the epoch as a whole, so
        any epoch can be replayed on any device.
        """
        count, padding = len(self.train), augmentation.crop_padding
        order = torch.randperm(count, generator=streams.generator(seed, "order", epoch)).to(self.device)
        draw = streams.generator(seed, "augmentation", epoch)
        corners = torch.randint(0, 2 * padding + 1, (2, count), generator=draw).to(self.device)
        mirrored = (torch.rand(count, generator=draw) < 0.5).to(self.device)
        for step in range(self.steps(batch_size)):
            at = slice(step * batch_size, (step + 1) * batch_size)
            index = order[at]
            images = self.train.images[index]
            if padding:
                images = crop(images, corners[0, at], corners[1, at], padding)
            if augmentation.flip:
                images = flip(images, mirrored[at])
            yield images.to(torch.float32) / 255, self.train.labels[index], index


def batches(images: Tensor, batch_size: int = 512) -> Iterator[Tensor]:
    """All images in order, as float32 in [0, 1], the last batch as small as it is."""
    for part in images.split(batch_size):
        yield part.to(torch.float32) / 255
