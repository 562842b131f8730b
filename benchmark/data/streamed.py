"""Large images: decoded by timm's loader whenever they are needed, in worker processes.

The transforms are timm's. For evaluation, and for training without a random crop, the shorter
side is resized to the image size divided by 0.875 and the image is centre-cropped, as for published
ImageNet results. All interpolation is bicubic. RandAugment is timm's as well, with its own
operations and scale of magnitudes.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data.loader import PrefetchLoader, fast_collate
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import DataLoader

from benchmark import seeds
from benchmark.data import cache
from benchmark.data.cache import Facts
from benchmark.data.sources import locate
from benchmark.data.sources.base import Part, Source, raise_damaged
from benchmark.data.split import stratified
from benchmark.data.view import View
from benchmark.errors import InputError
from benchmark.study.schema import Augmentation, FileDataset

STATISTICS = 2000
"""Maximum number of training images used to compute mean and standard deviation."""

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}

Transform = Callable[[Any], Tensor]
"""Turns a PIL image into a uint8 tensor, [3, H, W]."""


@dataclass(frozen=True)
class Streamed:
    """Labelled images that are decoded each time they are read.

    Attributes:
        source: The source that decodes them.
        part: The part of the source that contains them.
        indices: Their indices in that part, int64 [N].
        labels: Their labels, int64 [N], on the device.
    """

    source: StreamedSource
    part: Part
    indices: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """Yield all images in order, on the device, float32 in [0, 1].

        The last batch may be smaller.
        """
        items = _Items(self.part, _evaluation_transform(self.source.image_size))
        yield from self.source.load(items, self.indices.split(batch_size))


class StreamedSource:
    """A source whose images stay in their files."""

    def __init__(self, facts: Facts, source: Source, dataset: FileDataset, device: torch.device):
        assert dataset.image_size is not None
        self.facts = facts
        self.device = device
        self.image_size = dataset.image_size
        self.labels = source.train.labels
        self.test_labels = source.test.labels
        self._source = source
        self._workers = min(dataset.workers, os.cpu_count() or 1)
        # All loaders share one stream: memory freed on one stream cannot be reused on another.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def subset(self, indices: Tensor) -> Streamed:
        """Return the training images at `indices`, int64 [n]."""
        labels = self.labels[indices].to(self.device)
        return Streamed(self, self._source.train, indices, labels)

    def test(self, indices: Tensor | None = None) -> Streamed:
        """Return the test images at `indices`, int64 [n]; all if there are none."""
        test = self._source.test
        chosen = torch.arange(len(test)) if indices is None else indices
        return Streamed(self, test, chosen, test.labels[chosen].to(self.device))

    def epoch(
        self,
        indices: Tensor,
        batch_size: int,
        augmentation: Augmentation,
        view: View,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """Yield the full batches of an epoch, float32 [batch_size, 3, H, W] in [0, 1].

        The random draws for an image depend on the view's seed and number and on the image's index
        alone, whichever process decodes it.

        Args:
            indices: Indices of training images in the order of the epoch, int64 [n].
            batch_size: Images per batch; a last incomplete batch is dropped.
            augmentation: How each image is augmented.
            view: The view that the epoch shows; determines every random draw.
            start: Number of batches to leave out at the beginning, without reading them.
        """
        transform = _training_transform(self.image_size, augmentation, self.facts.mean)
        items = _Items(self._source.train, transform, (view.seed, view.number))
        full = len(indices) // batch_size * batch_size
        yield from self.load(items, indices[:full].cpu().split(batch_size)[start:])

    def load(self, items: _Items, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield batches of images, float32 [n, 3, H, W] in [0, 1], decoded ahead of their use.

        Args:
            items: The images, by index.
            batches: The indices of each batch.

        Raises:
            InputError: An image cannot be decoded.
        """
        loader = DataLoader(
            items,
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self._workers,
            collate_fn=fast_collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # the default would draw from torch's global stream
        )
        with _signals_blocked():
            decoded: Any = iter(loader)
        prefetched: Any = PrefetchLoader(
            decoded, mean=(0.0,) * 3, std=(1.0,) * 3, device=self.device
        )
        prefetched.stream = self._stream

        problem = None
        try:
            for images, _ in prefetched:
                yield images
        except _DecodingError as error:
            problem = str(error)
        finally:
            if self._workers:
                # Otherwise workers live as long as any traceback that refers to them.
                with _signals_blocked():
                    decoded._shutdown_workers()

        if problem is not None:
            # A worker's error arrives as a traceback, whose last line is the message.
            raise InputError(problem.strip().splitlines()[-1].removeprefix(f"{_ERROR_NAME}: "))


class _DecodingError(Exception):
    """What is wrong with an image; unlike an InputError, it can be several lines long."""


_ERROR_NAME = f"{_DecodingError.__module__}.{_DecodingError.__qualname__}"


class _Items(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The images of a part, decoded and transformed to uint8 [3, H, W].

    An image that cannot be decoded raises a _DecodingError.

    Args:
        part: The images.
        transform: Function that is applied to each image.
        draws: Seed and epoch for a random transform; None for a deterministic transform.
    """

    def __init__(self, part: Part, transform: Transform, draws: tuple[int, int] | None = None):
        self.part = part
        self.transform = transform
        self.draws = draws

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        try:
            image = self.part.image(index)
        except InputError as error:
            raise _DecodingError(str(error)) from None

        label = int(self.part.labels[index])
        if self.draws is None:
            return self.transform(image), label

        seed, epoch = self.draws
        with _global_seed(seeds.derive(seed, "augmentation", epoch, index)):
            return self.transform(image), label


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global streams, from which timm's transforms draw, and restore them afterwards."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block termination signals, so that starting or stopping the workers is not interrupted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(_: int) -> None:
    """Silence a worker: ignore Ctrl-C, which its parent handles, and exit quietly on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the parent had blocked them
    warnings.simplefilter("ignore")


def _evaluation_transform(size: int) -> Transform:
    """Return the deterministic transform to uint8 [3, size, size]."""
    transform: Transform = create_transform(size, interpolation="bicubic", use_prefetcher=True)
    return transform


def _training_transform(
    size: int, augmentation: Augmentation, mean: tuple[float, ...]
) -> Transform:
    """Return the augmenting transform to uint8 [3, size, size]."""
    options: dict[str, Any] = {
        "scale": (augmentation.resized_crop or 1.0, 1.0),
        "hflip": 0.5 if augmentation.flip else 0.0,
        "color_jitter": None,
        "interpolation": "bicubic",
        "mean": mean,
    }
    randaugment = augmentation.randaugment
    if randaugment is not None:
        options["auto_augment"] = f"rand-m{randaugment.magnitude}-n{randaugment.operations}"

    transform: Any = create_transform(size, is_training=True, use_prefetcher=True, **options)
    if augmentation.resized_crop is None:
        # Replace the random crop by the resize and centre crop used for evaluation.
        *resize_and_crop, _ = _evaluation_transform(size).transforms  # type: ignore[attr-defined]
        transform.transforms[:1] = resize_and_crop

    checked: Transform = transform
    return checked


def open_streamed(
    dataset: FileDataset, device: torch.device, folder: Path, say: Callable[[str], None]
) -> StreamedSource:
    """Open a source whose images stay in their files.

    Args:
        dataset: The data set's section of the study.
        device: Device of the batches.
        folder: Folder for the facts of sources and the hashes of files.
        say: Receives messages for the user, one line each.

    Raises:
        InputError: The source is missing or damaged.
    """
    located = locate(dataset)
    entry = folder / cache.key(dataset, located)
    source = located.load(entry.with_suffix(".files"))

    def build(part: Path) -> None:
        say(f"dataset {dataset.name}: reading all files, once")
        cache.write_card(part, _facts(dataset, source, folder))

    facts = cache.entry(entry, cache.read_card, build, say)
    return StreamedSource(facts, source, dataset, device)


def _facts(dataset: FileDataset, source: Source, memo_folder: Path) -> Facts:
    """Return a source's facts; the fingerprint covers all files' names, labels and contents.

    Raises:
        InputError: Images are damaged. The message names those of both parts.
    """
    assert dataset.image_size is not None
    fingerprint = hashlib.sha256()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        train, train_problems = source.train.examine_all(pool, memo_folder)
        test, test_problems = source.test.examine_all(pool, memo_folder)
        raise_damaged([*train_problems, *test_problems])

        for name, part, images in (("train", source.train, train), ("test", source.test, test)):
            labels = part.labels.tolist()
            for index, (label, image) in enumerate(zip(labels, images, strict=True)):
                line = f"{name}\0{part.title(index)}\0{label}\0{image.digest}\n"
                fingerprint.update(line.encode(errors="surrogateescape"))

        mean, std = _statistics(source.train, dataset.image_size, pool)

    examined = [*train, *test]
    return Facts(
        classes=source.classes,
        fingerprint=fingerprint.hexdigest(),
        size=(3, dataset.image_size, dataset.image_size),
        mean=mean,
        std=std,
        train=len(source.train),
        test=len(source.test),
        twins=cache.equal_groups(image.digest for image in examined),
        names=source.names,
        remarks=cache.remarks(source, [image.one_colour for image in examined]),
    )


def _statistics(
    train: Part, image_size: int, pool: Executor
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation per channel of a sample of the training images."""
    transform = _evaluation_transform(image_size)

    def histogram(index: int) -> Any:
        return cache.histogram(transform(train.image(index)).numpy()[None])

    sample = stratified(train.labels, min(STATISTICS, len(train)), "statistics")
    counts = np.sum(list(pool.map(histogram, sample.tolist())), axis=0)
    return cache.moments(counts)
