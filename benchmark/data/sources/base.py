"""The data-source contract: training and test images, decoded one at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, NamedTuple, TypeVar

from PIL import Image
from torch import Tensor

from benchmark.data.sources._pixels import PixelTypeError, has_one_colour, to_rgb
from benchmark.errors import InputError, first_line
from benchmark.study.schema import Digits, FileDataset
from benchmark.wording import counted

D = TypeVar("D", bound=Digits | FileDataset)

TEST_SPLITS = ("test", "validation", "val")
"""Candidate names for the test split, in the order in which they are tried."""


DAMAGED = 10
"""Maximum number of damaged images that a message names."""


class Examined(NamedTuple):
    """What is known of an image after it was decoded.

    Attributes:
        digest: SHA-256 of its content.
        one_colour: Whether all its pixels are equal.
    """

    digest: str
    one_colour: bool


def attempt_all(
    examine: Callable[[int], Examined], indices: Iterable[int], pool: Executor
) -> tuple[dict[int, Examined], list[str]]:
    """Examine images in parallel, without stopping at the first that is damaged.

    Args:
        examine: Examines an image. It raises InputError if the image is damaged.
        indices: The images.
        pool: Executor of the calls.

    Returns:
        The results by index, and a line for each damaged image.
    """

    def attempt(index: int) -> tuple[int, Examined | InputError]:
        try:
            return index, examine(index)
        except InputError as error:
            return index, error

    results: dict[int, Examined] = {}
    problems: list[str] = []
    for index, result in pool.map(attempt, indices):
        if isinstance(result, InputError):
            problems.append(str(result))
        else:
            results[index] = result
    return results, problems


def raise_damaged(problems: Sequence[str]) -> None:
    """Raise an InputError about damaged images; do nothing if there are none.

    Args:
        problems: A line for each damaged image.
    """
    if not problems:
        return

    lines = list(problems[:DAMAGED])
    more = len(problems) - DAMAGED
    if more > 0:
        lines.append(f"dataset: {counted(more, 'more image')} cannot be read either")
    raise InputError(*lines)


class Part(ABC):
    """The training or the test images of a data set, decoded on demand.

    Parts can be read from any thread or process.

    Attributes:
        labels: The label of each image, int64 [N].
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def where(self, index: int) -> str:
        """Return the name of an image, for messages."""

    @abstractmethod
    def read(self, index: int) -> Image.Image | IO[bytes] | Path:
        """Return an image, or a file or path from which to decode it."""

    def image(self, index: int) -> Image.Image:
        """Return an image in RGB.

        Raises:
            InputError: The image cannot be decoded, or has pixels of a type without a known range.
        """
        try:
            content = self.read(index)
            if isinstance(content, Image.Image):
                return to_rgb(content)

            with Image.open(content) as image:
                return to_rgb(image)
        except Exception as error:  # decoders raise many kinds of error for a damaged image
            raise self.undecodable(index, error) from error

    def undecodable(self, index: int, error: Exception) -> InputError:
        """Return the error that names an image which cannot be decoded, and the reason."""
        if isinstance(error, InputError):
            return error
        if isinstance(error, PixelTypeError):
            return InputError(f"{self.where(index)}: {error}")

        reason = first_line(error)
        return InputError(f"{self.where(index)}: cannot be decoded ({reason}); replace it")

    def examine(self, index: int) -> Examined:
        """Decode an image, and return what is to be known of its content.

        Raises:
            InputError: The image cannot be decoded.
        """
        image = self.image(index)
        digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        return Examined(digest, has_one_colour(image))

    def examine_all(self, pool: Executor, memo_folder: Path) -> tuple[list[Examined], list[str]]:
        """Examine all images.

        Args:
            pool: Executor that examines images in parallel.
            memo_folder: Folder where a part may keep results that are slow to compute.

        Returns:
            The results in the order of the images, and a line for each damaged image, which has no
            result.
        """
        results, problems = attempt_all(self.examine, range(len(self)), pool)
        return list(results.values()), problems

    def title(self, index: int) -> str:
        """Return the name of an image within its data set, which is part of the fingerprint."""
        return str(index)


@dataclass(frozen=True)
class Source:
    """A data set with its original training and test parts.

    Attributes:
        train: The training images.
        test: The test images.
        classes: Number of classes.
        names: Name of each class; empty if they are only numbers.
        remarks: What a user should know about the labels.
    """

    train: Part
    test: Part
    classes: int
    names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Located:
    """A data set that was found but not yet read.

    Attributes:
        signature: Plain data that changes whenever the images may have changed. None for a source
            that is fast enough to read without a cache.
        load: Reads the data set. Its argument is a folder for files that the parts need while they
            are in use.
    """

    signature: Any
    load: Callable[[Path], Source]


class SourceKind(ABC, Generic[D]):
    """One kind of data source, chosen by the prefix of the data set's name in a study.

    Attributes:
        prefix: First component of the name, before the slash.
        argument: Placeholder shown in messages for the text after the slash. Empty if the prefix is
            the whole name.
    """

    prefix: ClassVar[str]
    argument: ClassVar[str] = ""

    @abstractmethod
    def locate(self, dataset: D, argument: str) -> Located:
        """Find a data set of this kind.

        Args:
            dataset: The data set's section of the study.
            argument: The part of the data set's name after the prefix and the slash.

        Raises:
            InputError: The data set does not exist, or an option does not apply to it.
        """

    def names(self) -> Sequence[str]:
        """Return the data set names of this kind that messages suggest."""
        return [f"{self.prefix}/{self.argument}" if self.argument else self.prefix]


def split_names(dataset: FileDataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the split names to try for the training images and for the test images."""
    train = dataset.train_split or "train"
    test = (dataset.test_split,) if dataset.test_split else TEST_SPLITS
    return (train,), test
