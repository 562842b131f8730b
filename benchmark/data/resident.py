"""Small images: decoded once into memory-mapped files and kept on the device as uint8."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.data import cache
from benchmark.data.augmentation import Draws
from benchmark.data.cache import DamagedError, Facts, OutdatedError
from benchmark.data.decoder import Decoder
from benchmark.data.sources import locate
from benchmark.data.sources.base import Source, raise_damaged
from benchmark.data.view import View
from benchmark.errors import InputError
from benchmark.failpoint import failpoint
from benchmark.study.schema import Augmentation, Dataset

LIMIT = 16 * 2**30
"""Maximum size of a data set that is kept in memory, in bytes of pixels."""

BLOCK = 3 * 2**20
"""Bytes of pixels that are augmented together: many batches of small images."""

Write = Callable[[str, npt.NDArray[Any]], None]
"""Appends an array to the file or list with this name: {train,test}.{images,labels}."""


@dataclass(frozen=True)
class Resident:
    """Labelled images in memory.

    Attributes:
        images: The images, uint8 [N, C, H, W], channels_last in memory: the order in which
            augmentation and networks are fastest.
        labels: Their labels, int64 [N], on the same device.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """Yield all images in order, float32 in [0, 1]; the last batch may be smaller."""
        for images in self.images.split(batch_size):
            yield _as_inputs(images)

    def subset(self, indices: Tensor) -> Resident:
        """Return the images at `indices`, int64 [n]."""
        return Resident(self.chosen(indices), self.labels[indices])

    def chosen(self, indices: Tensor) -> Tensor:
        """Return the images at `indices`, int64 [n]."""
        pixels = self.images.permute(0, 2, 3, 1).index_select(0, indices)
        return pixels.permute(0, 3, 1, 2)

    def to(self, device: torch.device) -> Resident:
        """Return the same images and labels on a device; a CPU reads them from their file."""
        return Resident(self.images.to(device), self.labels.to(device))


class ResidentSource:
    """A whole source in memory.

    The training images are on the device. The test images stay on the CPU until they are read.
    """

    def __init__(self, facts: Facts, train: Resident, test: Resident, device: torch.device):
        self.facts = facts
        self.device = device
        self.labels = train.labels
        self.test_labels = test.labels
        self._train = train.to(device)
        self._test = test

    def subset(self, indices: Tensor) -> Resident:
        """Return the training images at `indices`, int64 [n]."""
        return self._train.subset(indices.to(self.device))

    def test(self, indices: Tensor | None = None) -> Resident:
        """Return the test images at `indices`, int64 [n]; all if there are none."""
        self._test = self._test.to(self.device)
        return self._test if indices is None else self._test.subset(indices.to(self.device))

    def epoch(
        self,
        indices: Tensor,
        batch_size: int,
        augmentation: Augmentation,
        view: View,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the full batches of an epoch, float32 [batch_size, C, H, W] in [0, 1].

        Args:
            indices: Indices of training images in the order of the epoch, int64 [n], on the device.
            batch_size: Images per batch; a last incomplete batch is dropped.
            augmentation: How each image is augmented.
            view: The view that the epoch shows; determines every random draw.
            start: Number of batches to leave out at the beginning, without reading them.
        """
        blocks = self._blocks(len(indices), batch_size, start)
        if not blocks:
            return

        height, width = self._train.images.shape[2:]
        draws = Draws(augmentation, view, blocks, (height, width), self.device)
        for block, at in enumerate(blocks):
            images = draws.augment(self._train.chosen(indices[at]), block)
            for batch in images.split(batch_size):
                yield _as_inputs(batch)

    def _blocks(self, count: int, batch_size: int, start: int) -> list[slice]:
        """Divide the full batches of an epoch, from `start` on, into blocks of whole batches."""
        batch_bytes = batch_size * math.prod(self._train.images.shape[1:])
        together = batch_size * max(BLOCK // batch_bytes, 1)
        end = count - count % batch_size
        firsts = range(start * batch_size, end, together)
        return [slice(first, min(first + together, end)) for first in firsts]


def _as_inputs(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [0, 1], in the order in memory that networks use."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def open_resident(
    dataset: Dataset, device: torch.device, folder: Path, say: Callable[[str], None]
) -> ResidentSource:
    """Read a source into memory, from the cache if the source was decoded before.

    Args:
        dataset: The data set's section of the study.
        device: Device of the training images.
        folder: Folder for decoded images.
        say: Receives messages for the user, one line each.

    Raises:
        InputError: The source is missing or damaged.
    """
    located = locate(dataset)
    if located.signature is None:
        memory = _Memory()
        facts = _decode(dataset, located.load(folder), memory.write)
        return ResidentSource(facts, memory.part("train"), memory.part("test"), device)

    def build(part: Path) -> None:
        with tempfile.TemporaryDirectory(dir=part) as scratch, _Writer(part) as writer:
            source = located.load(Path(scratch))
            say(f"dataset {dataset.name}: decoding all images, once")
            facts = _decode(dataset, source, writer.write)
        cache.write_card(part, replace(facts, files=writer.digests()))

    entry = folder / cache.key(dataset, located)
    facts, train, test = cache.entry(entry, _read_entry, build, say)
    return ResidentSource(facts, train, test, device)


def _decode(dataset: Dataset, source: Source, write: Write) -> Facts:
    """Decode all images, write them in chunks, and return the source's facts.

    The fingerprint, which is part of the identity of cells, is that of the images as
    [N, C, H, W]; they are written as [N, H, W, C], the order in which they are read.

    Raises:
        InputError: There are too many pixels, images are damaged, or an image differs in size from
            the first one.
    """
    decoder = Decoder(source, dataset.image_size)
    _check_memory(dataset, source, decoder.shape)

    fingerprint = hashlib.sha256()
    digests: list[bytes] = []
    one_colour: list[bool] = []
    counts = np.zeros((decoder.shape[0], 256), np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, part in (("train", source.train), ("test", source.test)):
            fingerprint.update(_header((len(part), *decoder.shape), "uint8"))
            for pixels in decoder.chunks(part, pool):
                fingerprint.update(pixels.data)
                digests += [hashlib.sha256(image.data).digest() for image in pixels]
                one_colour += (pixels == pixels[:, :, :1, :1]).all(axis=(1, 2, 3)).tolist()
                if name == "train":
                    counts += cache.histogram(pixels)
                write(f"{name}.images", np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)))

            labels = part.labels.numpy()
            fingerprint.update(_header(labels.shape, "int64"))
            fingerprint.update(labels.data)
            write(f"{name}.labels", labels)

    raise_damaged(decoder.problems)
    mean, std = cache.moments(counts)
    return Facts(
        classes=source.classes,
        fingerprint=fingerprint.hexdigest(),
        size=decoder.shape,
        mean=mean,
        std=std,
        train=len(source.train),
        test=len(source.test),
        twins=cache.equal_groups(digests),
        names=source.names,
        remarks=cache.remarks(source, one_colour),
    )


def _check_memory(dataset: Dataset, source: Source, shape: tuple[int, ...]) -> None:
    """Reject a data set with too many pixels to keep in memory."""
    images = len(source.train) + len(source.test)
    total = images * int(np.prod(shape))
    if total > LIMIT:
        raise InputError(
            f"dataset: {dataset.name} has {total / 2**30:.0f} GiB of pixels; at most "
            f"{LIMIT >> 30} GiB are kept in memory; set loading: streamed"
        )


def _header(shape: tuple[int, ...], kind: str) -> bytes:
    """Return the bytes that precede an array in the fingerprint."""
    return repr((shape, f"torch.{kind}")).encode()


def _read_entry(folder: Path) -> tuple[Facts, Resident, Resident]:
    """Memory-map the images and labels that `_decode` wrote.

    Raises:
        DamagedError: A file differs from what was written.
    """
    facts = cache.read_card(folder)
    if not facts.files:
        raise OutdatedError("from an earlier version, which stored pixels in another order")

    channels, height, width = facts.size
    parts: list[Resident] = []
    for name, count in (("train", facts.train), ("test", facts.test)):
        images = _map(folder, f"{name}.images", (count, height, width, channels), np.uint8, facts)
        labels = _map(folder, f"{name}.labels", (count,), np.int64, facts)
        parts.append(_resident(images, labels))

    train, test = parts
    return facts, train, test


def _resident(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Resident:
    """Return images, stored as uint8 [N, H, W, C], with their labels, without a copy."""
    return Resident(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels))


def _map(
    folder: Path, name: str, shape: tuple[int, ...], kind: type[np.generic], facts: Facts
) -> npt.NDArray[Any]:
    """Memory-map a file, whose memory all processes share, and check its content."""
    content = cache.memory_map(folder / name, shape, kind)
    actual, expected = hashlib.sha256(content.data).hexdigest(), facts.files.get(name, "")
    if actual != expected:
        raise DamagedError(f"SHA-256 of {name} is {actual[:12]}... instead of {expected[:12]}...")
    return content


class _Memory:
    """Keeps arrays in memory, for sources that need no files."""

    def __init__(self) -> None:
        self._written: dict[str, list[npt.NDArray[Any]]] = {}

    def write(self, name: str, content: npt.NDArray[Any]) -> None:
        """Append an array to the list with this name."""
        self._written.setdefault(name, []).append(content)

    def part(self, name: str) -> Resident:
        """Return a part's images and labels."""
        images = np.concatenate(self._written[f"{name}.images"])
        labels = np.concatenate(self._written[f"{name}.labels"])
        return _resident(images, labels)


class _Writer:
    """Writes arrays to files, one file per name."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._digests: dict[str, Any] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, name: str, content: npt.NDArray[Any]) -> None:
        """Append an array to the file with this name."""
        if name not in self._files:
            self._files[name] = (self._folder / name).open("wb")
            self._digests[name] = hashlib.sha256()

        self._files[name].write(content.data)
        self._digests[name].update(content.data)
        failpoint("data.write")

    def digests(self) -> dict[str, str]:
        """Return SHA-256 of the content of each file, by name."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}
