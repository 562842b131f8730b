"""Large images: decoded by timm's loader whenever they are needed, in processes of their own.

timm's transforms: for evaluation (and for training without a random crop) the shorter side is brought to the image
size over 0.875 and the middle is cut out, as published ImageNet figures have it; all interpolation is bicubic.
RandAugment is timm's too, with its own operations and its own scale of magnitudes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from benchmark.data.sources.base import Part, Source
from benchmark.data.sources.folders import Files
from benchmark.data.sources.locate import locate
from benchmark.data.split import stratified
from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.study.schema import Augmentation, FileDataset

STATISTICS = 2000
"""Training images that mean and deviation are computed from, at most."""

STOPS = {signal.SIGINT, signal.SIGTERM}
Transform = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Streamed:
    """Labelled images that are decoded each time they are gone through.  labels: int64 [N], on the device."""

    source: StreamedSource
    part: Part
    places: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int = 512) -> Iterator[Tensor]:
        """All images in order, as float32 in [0, 1] on the device, the last batch as small as it is."""
        items = _Items(self.part, _evaluation(self.source.image_size))
        yield from self.source.load(items, self.places.split(batch_size))


class StreamedSource:
    """A source whose images stay in its files."""

    def __init__(self, facts: Facts, source: Source, dataset: FileDataset, device: torch.device):
        assert dataset.image_size is not None
        self.facts, self.device, self.image_size = facts, device, dataset.image_size
        self.labels = source.train.labels
        self._source, self._workers = source, min(dataset.workers, os.cpu_count() or 1)
        # One for all loaders: memory that one stream has freed is of no use to another.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def images(self, places: Tensor) -> Streamed:
        """Some of the training images."""
        return Streamed(self, self._source.train, places, self.labels[places].to(self.device))

    def test(self) -> Streamed:
        """The test images."""
        test = self._source.test
        return Streamed(self, test, torch.arange(len(test)), test.labels.to(self.device))

    def epoch(
        self, places: Tensor, batch_size: int, augmentation: Augmentation, seed: int, epoch: int
    ) -> Iterator[Tensor]:
        """Batches of training images, float32 [batch_size, 3, H, W] in [0, 1]; the last incomplete one is left out.

        places: of all images of the epoch in its order, int64 [N]. What is random about an image depends on the seed,
        the epoch and its place alone, whichever process decodes it.
        """
        items = _Items(
            self._source.train,
            _training(self.image_size, augmentation, self.facts.mean),
            (seed, epoch),
        )
        whole = len(places) // batch_size * batch_size
        yield from self.load(items, places[:whole].cpu().split(batch_size))

    def load(self, items: _Items, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Batches of images, float32 [n, 3, H, W] in [0, 1] on the device, decoded ahead of their use.

        Raises InputError for an image that cannot be decoded.
        """
        loader = DataLoader(
            items,
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self._workers,
            collate_fn=fast_collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # else it draws from the global one
        )
        with _uninterrupted():
            decoded: Any = iter(loader)
        ahead: Any = PrefetchLoader(decoded, mean=(0.0,) * 3, std=(1.0,) * 3, device=self.device)
        ahead.stream = self._stream
        problem = None
        try:
            for images, _ in ahead:
                yield images
        except InputError as error:
            problem = str(error)
        finally:
            with _uninterrupted():
                if self._workers:
                    decoded._shutdown_workers()  # else they live as long as a traceback that mentions them
        if problem is not None:
            # From a worker it comes with a traceback, whose last line is the error.
            raise InputError(problem.strip().splitlines()[-1].removeprefix(f"{_NAME}: "))


_NAME = f"{InputError.__module__}.{InputError.__qualname__}"


class _Items(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The images of a part, decoded and transformed: uint8 [3, H, W].  draws: seed and epoch of an augmentation."""

    def __init__(self, part: Part, transform: Transform, draws: tuple[int, int] | None = None):
        self.part, self.transform, self.draws = part, transform, draws

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image, label = self.part.image(place), int(self.part.labels[place])
        if self.draws is None:
            return self.transform(image), label
        seed, epoch = self.draws
        with _drawing_from(seeds.derive(seed, "augmentation", epoch, place)):
            return self.transform(image), label


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """The global streams that timm's transforms draw from are at this seed inside, and as they were outside."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets signals that stop the program wait, so that workers are started or ended as a whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(_: int) -> None:
    """A worker says nothing, leaves Ctrl-C to its parent, and ends quietly when it is asked to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # they were blocked when it was started
    warnings.simplefilter("ignore")


def _evaluation(size: int) -> Transform:
    """An image as uint8 [3, size, size], nothing left to chance."""
    made: Transform = create_transform(size, interpolation="bicubic", use_prefetcher=True)
    return made


def _training(size: int, augmentation: Augmentation, mean: tuple[float, ...]) -> Transform:
    """An augmented image as uint8 [3, size, size]."""
    wanted = augmentation.randaugment
    options: dict[str, Any] = {
        "scale": (augmentation.resized_crop or 1.0, 1.0),
        "hflip": 0.5 if augmentation.flip else 0.0,
        "color_jitter": None,
        "auto_augment": None
        if wanted is None
        else f"rand-m{wanted.magnitude}-n{wanted.operations}",
        "interpolation": "bicubic",
        "mean": mean,
    }
    made: Any = create_transform(size, is_training=True, use_prefetcher=True, **options)
    if augmentation.resized_crop is None:
        fixed: Any = _evaluation(size)
        made.transforms[:1] = fixed.transforms[:-1]  # the last makes a tensor of it
    transform: Transform = made
    return transform


def open_streamed(
    dataset: FileDataset, device: torch.device, folder: Path, say: Callable[[str], None]
) -> StreamedSource:
    """The source of a study in its files.  folder: for what is known of them. Raises InputError for a bad source."""
    located = locate(dataset)
    place = folder / cache.key(dataset, located)
    source = located.load(place.with_suffix(".files"))

    def build(part: Path) -> None:
        say(f"dataset {dataset.name}: reading all files, once")
        cache.write_card(part, _facts(dataset, source, folder))

    return StreamedSource(cache.entry(place, cache.read_card, build, say), source, dataset, device)


def _facts(dataset: FileDataset, source: Source, folder: Path) -> Facts:
    """What holds for a source: its fingerprint is of names, labels and contents of all files."""
    assert dataset.image_size is not None
    fingerprint, digests = hashlib.sha256(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, part in (("train", source.train), ("test", source.test)):
            found = _digests(part, folder, pool)
            for place, (label, digest) in enumerate(zip(part.labels.tolist(), found, strict=True)):
                fingerprint.update(f"{name}\0{part.title(place)}\0{label}\0{digest}\n".encode())
            digests += found
        sample = stratified(
            source.train.labels, min(STATISTICS, len(source.train)), "statistics"
        ).tolist()
        transform = _evaluation(dataset.image_size)
        tallies = pool.map(
            lambda place: cache.tally(transform(source.train.image(place)).numpy()[None]), sample
        )
        mean, std = cache.moments(np.sum(list(tallies), axis=0))
    size, twins = (3, dataset.image_size, dataset.image_size), cache.groups(digests)
    return Facts(
        source.classes,
        fingerprint.hexdigest(),
        size,
        mean,
        std,
        len(source.train),
        len(source.test),
        twins,
    )


def _digests(part: Part, folder: Path, pool: ThreadPoolExecutor) -> list[str]:
    """The content hash of each image. Those of files are kept, and hold as long as the file's size and time do."""
    if not isinstance(part, Files):
        return list(pool.map(part.digest, range(len(part))))
    memo = folder / f"hashes-{hashlib.sha256(str(part.folder).encode()).hexdigest()[:16]}.json"
    known = _remembered(memo)
    stamps = [f"{name}:{size}:{time}" for name, size, time in part.stamps()]
    new = [place for place, stamp in enumerate(stamps) if stamp not in known]
    known |= zip([stamps[place] for place in new], pool.map(part.digest, new), strict=True)
    if new:
        kept = {stamp: known[stamp] for stamp in stamps}
        write_json(memo, {"check": cache.check(kept), "hashes": kept})
    return [known[stamp] for stamp in stamps]


def _remembered(memo: Path) -> dict[str, str]:
    """Hashes that were kept; none if the file is missing or damaged."""
    try:
        content = json.loads(memo.read_bytes())
        hashes: dict[str, str] = content["hashes"]
        return hashes if cache.check(hashes) == content["check"] else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
