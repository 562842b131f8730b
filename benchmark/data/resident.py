"""Small images: decoded once, kept as uint8 in a memory-mapped file, and gathered and augmented on the device."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import cache
from benchmark.data.augmentation import Draws
from benchmark.data.cache import DamagedError, Facts
from benchmark.data.sources.base import Part, Source
from benchmark.data.sources.locate import locate
from benchmark.errors import InputError
from benchmark.failpoint import failpoint
from benchmark.study.schema import Augmentation, Dataset

LIMIT = 16 * 2**30
"""Bytes of pixels that are held at most."""

CHUNK = 1024
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Resident:
    """Labelled images in memory.  images: uint8 [N, C, H, W]; labels: int64 [N], on the same device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """All images in order, as float32 in [0, 1], the last batch as small as it is."""
        for part in self.images.split(batch_size):
            yield part.to(torch.float32) / 255

    def take(self, places: Tensor) -> Resident:
        """The images at some places."""
        return Resident(self.images[places], self.labels[places])

    def to(self, device: torch.device) -> Resident:
        """The same on a device."""
        return Resident(self.images.to(device), self.labels.to(device))


class ResidentSource:
    """A whole source in memory: its training images on the device, its test images on the CPU until they are wanted."""

    def __init__(self, facts: Facts, train: Resident, test: Resident, device: torch.device):
        self.facts, self.device = facts, device
        self.labels = train.labels
        self._train, self._test = train.to(device), test

    def images(self, places: Tensor) -> Resident:
        """Some of the training images."""
        return self._train.take(places.to(self.device))

    def test(self) -> Resident:
        """The test images."""
        self._test = self._test.to(self.device)
        return self._test

    def epoch(
        self, places: Tensor, batch_size: int, augmentation: Augmentation, seed: int, epoch: int
    ) -> Iterator[Tensor]:
        """Batches of training images, float32 [batch_size, C, H, W] in [0, 1]; the last incomplete one is left out.

        places: of all images of the epoch in its order, int64 [N] on the device.
        """
        draws = Draws(augmentation, seed, epoch, len(places), self.device)
        for start in range(0, len(places) - batch_size + 1, batch_size):
            at = slice(start, start + batch_size)
            yield draws.augment(self._train.images[places[at]], at).to(torch.float32) / 255


def open_resident(
    dataset: Dataset, device: torch.device, folder: Path, say: Callable[[str], None]
) -> ResidentSource:
    """The source of a study in memory.  folder: for decoded images. Raises InputError for a source that is amiss."""
    located = locate(dataset)
    if located.signature is None:
        memory = _Memory()
        facts = _decode(dataset, located.load(folder), memory.write)
        return ResidentSource(facts, memory.part("train"), memory.part("test"), device)

    def build(part: Path) -> None:
        say(f"dataset {dataset.name}: decoding all images, once")
        with tempfile.TemporaryDirectory(dir=part) as scratch, _Writer(part) as writer:
            facts = _decode(dataset, located.load(Path(scratch)), writer.write)
        cache.write_card(part, facts)

    facts, train, test = cache.entry(folder / cache.key(dataset, located), _opened, build, say)
    return ResidentSource(facts, train, test, device)


def _decode(
    dataset: Dataset, source: Source, write: Callable[[str, npt.NDArray[Any]], None]
) -> Facts:
    """Decodes all images and hands them to `write` in pieces, named {train,test}.{images,labels}.

    Raises InputError for an image that is damaged or of another size than the first.
    """
    fitted = _fitting(dataset.image_size)
    shape = fitted(source.train.image(0)).shape
    total = (len(source.train) + len(source.test)) * int(np.prod(shape))
    if total > LIMIT:
        raise InputError(
            f"dataset: {dataset.name} has {total / 2**30:.0f} GiB of pixels, {LIMIT >> 30} are held in memory at most; "
            "set loading: streamed"
        )
    digest, digests, histogram = hashlib.sha256(), [], np.zeros((shape[0], 256), np.int64)

    def decoded(part: Part, place: int) -> Pixels:
        pixels = fitted(part.image(place))
        if pixels.shape != shape:
            first, other = (f"{width}x{height}" for _, height, width in (shape, pixels.shape))
            sizes = f"{source.train.where(0)} is {first}, {part.where(place)} is {other}"
            raise InputError(
                f"dataset: images of different sizes, {sizes} (width x height); set image_size"
            )
        return pixels

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, part in (("train", source.train), ("test", source.test)):
            digest.update(_head((len(part), *shape), "uint8"))
            for start in range(0, len(part), CHUNK):
                places = range(start, min(start + CHUNK, len(part)))
                pixels = np.stack(list(pool.map(partial(decoded, part), places)))
                digest.update(pixels.data)
                digests += [hashlib.sha256(image.data).digest() for image in pixels]
                histogram += cache.tally(pixels) if name == "train" else 0
                write(f"{name}.images", pixels)
            labels = part.labels.numpy()
            digest.update(_head(labels.shape, "int64"))
            digest.update(labels.data)
            write(f"{name}.labels", labels)
    mean, std = cache.moments(histogram)
    size, twins = (shape[0], shape[1], shape[2]), cache.groups(digests)
    return Facts(
        source.classes,
        digest.hexdigest(),
        size,
        mean,
        std,
        len(source.train),
        len(source.test),
        twins,
    )


def _fitting(image_size: int | None) -> Callable[[Image.Image], Pixels]:
    """Makes an image uint8 [3, H, W]: as large as it is, or its middle with the shorter side brought to a size."""
    if image_size is None:
        return lambda image: np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    from timm.data.transforms_factory import create_transform

    transform = create_transform(
        image_size, interpolation="bicubic", crop_pct=1.0, use_prefetcher=True
    )
    return lambda image: np.ascontiguousarray(transform(image).numpy())


def _head(shape: tuple[int, ...], kind: str) -> bytes:
    return repr((shape, f"torch.{kind}")).encode()


def _opened(folder: Path) -> tuple[Facts, Resident, Resident]:
    """What `_decode` wrote into a folder, memory-mapped. Raises DamagedError if it is not as it was written."""
    facts, digest, parts = cache.read_card(folder), hashlib.sha256(), []
    for name, count in (("train", facts.train), ("test", facts.test)):
        arrays = []
        for what, shape, kind in (
            ("images", (count, *facts.size), np.uint8),
            ("labels", (count,), np.int64),
        ):
            path = folder / f"{name}.{what}"
            if not path.exists() or path.stat().st_size != np.prod(shape) * np.dtype(kind).itemsize:
                raise DamagedError(f"{path.name} is not as long as it was")
            array = np.memmap(path, kind, mode="c", shape=shape)
            digest.update(_head(shape, array.dtype.name))
            digest.update(array.data)
            arrays.append(torch.from_numpy(array))
        parts.append(Resident(*arrays))
    if digest.hexdigest() != facts.fingerprint:
        raise DamagedError(
            f"SHA-256 is {digest.hexdigest()[:12]}..., {facts.fingerprint[:12]}... was written"
        )
    return facts, parts[0], parts[1]


class _Memory:
    """Keeps what is written, for sources that need no files."""

    def __init__(self) -> None:
        self._written: dict[str, list[Any]] = {}

    def write(self, name: str, content: npt.NDArray[Any]) -> None:
        self._written.setdefault(name, []).append(content)

    def part(self, name: str) -> Resident:
        images, labels = (
            np.concatenate(self._written[f"{name}.{what}"]) for what in ("images", "labels")
        )
        return Resident(torch.from_numpy(images), torch.from_numpy(labels))


class _Writer:
    """Writes arrays one after the other into files of their names."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, Any] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, name: str, content: npt.NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = (self._folder / name).open("wb")
        self._files[name].write(content.data)
        failpoint("data.write")
