"""On-disk cache of what was computed from a source, so that later starts are fast.

A cache entry is a folder that is complete or absent: one process at a time fills a temporary
folder and then renames it. Every reader checks the entry and rebuilds it if it is damaged.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from benchmark.data.sources.base import Located, Source
from benchmark.errors import InputError, remedy
from benchmark.failpoint import failpoint
from benchmark.hashing import canonical
from benchmark.study.schema import Dataset
from benchmark.wording import counted

FORMAT = 1
"""Version of an entry's file format. Entries of other versions are not used."""

CARD = "card.json"

_TUPLES = ("size", "mean", "std", "names", "remarks")
"""Facts that are tuples, which JSON stores as lists."""

T = TypeVar("T")


class DamagedError(Exception):
    """An entry of the cache differs from what was written."""


class OutdatedError(DamagedError):
    """An earlier version wrote the entry in another form."""


@dataclass(frozen=True)
class Facts:
    """Properties of a source as a whole, stored in the card of its cache entry.

    Attributes:
        classes: Number of classes.
        fingerprint: SHA-256 of the source's content.
        size: Channels, height and width of an image.
        mean: Mean of the training images per channel, in [0, 1].
        std: Standard deviation of the training images per channel.
        train: Number of training images.
        test: Number of test images.
        twins: Groups of identical images, as indices into the training images followed by the test
            images.
        names: Name of each class; empty if they are only numbers.
        remarks: What a user should know about the data.
        files: SHA-256 of each file of the entry besides the card, by name.
    """

    classes: int
    fingerprint: str
    size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int
    test: int
    twins: list[list[int]]
    names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


def key(dataset: Dataset, located: Located) -> str:
    """Return the name of an entry, derived from the data set, its options and its location."""
    content = {"format": FORMAT, "dataset": dataset.identity, "place": located.signature}
    return checksum(content)[:16]


def write_card(folder: Path, facts: Facts) -> None:
    """Write the facts with a checksum."""
    write_checked(folder, asdict(facts))


def read_card(folder: Path) -> Facts:
    """Read the facts of an entry.

    Raises:
        DamagedError: The file differs from what was written.
    """
    content = read_checked(folder)
    try:
        tuples = {name: tuple(content[name]) for name in _TUPLES if name in content}
        return Facts(**{**content, **tuples})
    except TypeError as error:
        raise DamagedError(f"{CARD}: {error}") from None


def write_checked(folder: Path, content: Mapping[str, Any]) -> None:
    """Write plain data with a checksum to the card of an entry."""
    card = {"check": checksum(content), "facts": content}
    (folder / CARD).write_text(json.dumps(card, indent=1))


def read_checked(folder: Path) -> dict[str, Any]:
    """Read the card of an entry.

    Raises:
        DamagedError: The file differs from what was written.
    """
    try:
        card = json.loads((folder / CARD).read_bytes())
        content: dict[str, Any] = card["facts"]
        if checksum(content) != card["check"]:
            raise DamagedError(f"{CARD}: wrong checksum")
        return dict(content)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"{CARD}: {error}") from None


def checksum(content: Any) -> str:
    """Return a checksum of plain data."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def memory_map(path: Path, shape: tuple[int, ...], kind: type[np.generic]) -> npt.NDArray[Any]:
    """Memory-map a file so that writing to the array leaves the file unchanged.

    Raises:
        DamagedError: The file is missing or has the wrong length.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if not path.exists() or path.stat().st_size != size:
        raise DamagedError(f"{path.name} is missing or has the wrong length")

    return np.memmap(path, kind, mode="c", shape=shape)


def entry(
    folder: Path,
    read: Callable[[Path], T],
    build: Callable[[Path], None],
    say: Callable[[str], None],
) -> T:
    """Read an entry. Build it first if it is missing or damaged.

    Only one process at a time works on an entry; the others wait.

    Args:
        folder: The folder of the entry.
        read: Reads the entry. Raises `DamagedError` if it is damaged.
        build: Fills an empty folder with the entry's files.
        say: Receives messages for the user, one line each.

    Returns:
        What `read` returns.

    Raises:
        InputError: The entry cannot be written to the disk.
    """
    waiting = f"{folder}: another process is reading this data set; waiting for it"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder, waiting, say):
            if folder.exists():
                try:
                    return read(folder)
                except DamagedError as error:
                    is_old = isinstance(error, OutdatedError)
                    state = str(error) if is_old else f"damaged ({error})"
                    say(f"{folder}: {state}; reading the data set again")

            with filling(folder) as unfinished:
                build(unfinished)
            return read(folder)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{folder}: the data set cannot be cached here ({reason}){remedy(error)}"
        ) from error


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Return a context with a temporary folder, which then becomes an entry's folder.

    If the block raises an error, the temporary folder is removed.
    """
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        failpoint("data.built")
        if folder.exists():  # what it replaces stays until now: the source may be gone
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def locked(
    folder: Path,
    message: str,
    say: Callable[[str], None],
    beat: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold an entry's lock, and report a wait of more than a second.

    Args:
        folder: The folder of the entry.
        message: What to report.
        say: Receives the message.
        beat: Called about every second of the wait.
    """
    lock = FileLock(folder.with_suffix(".lock"))
    told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            if not told:
                say(message)
            told = True
            beat()

    try:
        yield
    finally:
        lock.release()


def equal_groups(digests: Iterable[str | bytes]) -> list[list[int]]:
    """Return the indices of equal digests, one group per digest that occurs more than once."""
    indices: dict[str | bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        indices[digest].append(index)

    return [group for group in indices.values() if len(group) > 1]


def remarks(source: Source, one_colour: Sequence[bool]) -> tuple[str, ...]:
    """Return what a user should know about the data.

    Args:
        source: The source.
        one_colour: Whether all pixels of an image are equal, for the training images followed by
            the test images.
    """
    lines = list(source.remarks)
    if any(one_colour):
        first = list(one_colour).index(True)
        part, index = source.train, first
        if first >= len(source.train):
            part, index = source.test, first - len(source.train)
        lines.append(
            f"{sum(one_colour)} of {counted(len(one_colour), 'image')} "
            f"{'has' if sum(one_colour) == 1 else 'have'} only one colour, first "
            f"{part.where(index)}"
        )
    return tuple(lines)


def histogram(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count how often each value occurs in each channel.

    Args:
        pixels: Images, [N, C, H, W].

    Returns:
        The counts, [C, 256].
    """
    channels = pixels.swapaxes(0, 1).reshape(pixels.shape[1], -1)
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


def moments(counts: npt.NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation per channel, in [0, 1].

    Args:
        counts: How often each of the values 0 to 255 occurs in each channel, [C, 256].
    """
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
    std = np.sqrt(variance).clip(1e-6)
    return tuple(mean.tolist()), tuple(std.tolist())
