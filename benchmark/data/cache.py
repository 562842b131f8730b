"""What is computed once from a source and kept in files, so that later starts are quick and read what was read before.

An entry is a folder that appears whole or not at all: it is made under another name, by one process at a time, and
renamed. Whoever opens it checks it, and makes it again if it is not as it was written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from benchmark.data.sources.base import Located
from benchmark.errors import InputError
from benchmark.failpoint import failpoint
from benchmark.hashing import canonical
from benchmark.study.schema import Dataset

FORMAT = 1
"""Of an entry's files; another number leaves older entries unused."""

T = TypeVar("T")


class DamagedError(Exception):
    """An entry is not as it was written."""


@dataclass(frozen=True)
class Facts:
    """What holds for a source as a whole.

    size: channels, height and width. mean, std: of its training images, per channel in [0, 1]. twins: groups of equal
    images, as places in the training images followed by the test images.
    """

    classes: int
    fingerprint: str
    size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int
    test: int
    twins: list[list[int]]


def key(dataset: Dataset, located: Located) -> str:
    """The name of an entry: of what is read, how, and from where."""
    content = {"format": FORMAT, "dataset": dataset.identity, "place": located.signature}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def write_card(folder: Path, facts: Facts) -> None:
    """Writes the facts, with a checksum."""
    content = asdict(facts)
    (folder / "card.json").write_text(
        json.dumps({"check": check(content), "facts": content}, indent=1)
    )


def read_card(folder: Path) -> Facts:
    """The facts of an entry. Raises DamagedError if the file is not as it was written."""
    try:
        card = json.loads((folder / "card.json").read_bytes())
        content = card["facts"]
        if check(content) != card["check"]:
            raise DamagedError("card.json: wrong checksum")
        tuples = {name: tuple(content[name]) for name in ("size", "mean", "std")}
        return Facts(**{**content, **tuples})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"card.json: {error}") from None


def check(content: Any) -> str:
    """A checksum of plain data."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def entry(
    folder: Path,
    opened: Callable[[Path], T],
    build: Callable[[Path], None],
    say: Callable[[str], None],
) -> T:
    """What `opened` makes of an entry, which `build` fills if it is missing or damaged; one process at a time does.

    Raises InputError if the disk refuses it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder, say):
            if folder.exists():
                try:
                    return opened(folder)
                except DamagedError as error:
                    say(f"{folder}: damaged ({error}); the data set is read again")
                    shutil.rmtree(folder)
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                build(part)
                failpoint("data.built")
                part.rename(folder)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            return opened(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: the data set cannot be kept here ({error.strerror or error})"
        ) from error


@contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds an entry against other processes, after those that hold it have finished."""
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say(f"{folder}: another process reads this data set; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def groups(digests: Iterable[str | bytes]) -> list[list[int]]:
    """The places of equal digests, for those that stand more than once."""
    places: dict[str | bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(digests):
        places[digest].append(place)
    return [group for group in places.values() if len(group) > 1]


def moments(histogram: npt.NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, in [0, 1], of the values 0 to 255.  histogram: counts [C, 256]."""
    values, counts = np.arange(256) / 255, histogram / histogram.sum(axis=1, keepdims=True)
    mean = counts @ values
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1)
    return tuple(mean.tolist()), tuple(np.sqrt(variance).clip(1e-6).tolist())


def tally(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each value stands in each channel.  pixels: [N, C, H, W] -> [C, 256]."""
    channels = pixels.swapaxes(0, 1).reshape(pixels.shape[1], -1)
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])
