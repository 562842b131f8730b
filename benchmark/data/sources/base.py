"""The data-source contract: training and test images, decoded one at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from benchmark.errors import InputError, first_line
from benchmark.study.schema import Digits, FileDataset

D = TypeVar("D", bound=Digits | FileDataset)

TEST_SPLITS = ("test", "validation", "val")
"""Candidate names for the test split, in the order in which they are tried."""


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
            InputError: The image cannot be decoded.
        """
        try:
            content = self.read(index)
            if isinstance(content, Image.Image):
                return content.convert("RGB")

            with Image.open(content) as image:
                return image.convert("RGB")
        except Exception as error:  # decoders raise many kinds of error for a damaged image
            message = f"{self.where(index)}: cannot be decoded ({first_line(error)}); replace it"
            raise InputError(message) from error

    def digest(self, index: int) -> str:
        """Return the SHA-256 of an image's content."""
        image = self.image(index)
        return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()

    def digests(self, pool: Executor, memo_folder: Path) -> list[str]:
        """Return the digests of all images.

        Args:
            pool: Executor that computes the digests in parallel.
            memo_folder: Folder where a part may cache digests that are slow to compute.
        """
        return list(pool.map(self.digest, range(len(self))))

    def title(self, index: int) -> str:
        """Return the name of an image within its data set, which is part of the fingerprint."""
        return str(index)


@dataclass(frozen=True)
class Source:
    """A data set with its original training and test parts.

    Attributes:
        classes: Number of classes.
    """

    train: Part
    test: Part
    classes: int


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


def class_labels(values: Sequence[Any], classes: int, where: str) -> Tensor:
    """Return labels as int64 [N].

    Args:
        values: The labels as read from the source.
        classes: Number of classes.
        where: Origin of the labels, for the error message.

    Raises:
        InputError: A label is not an integer from 0 to `classes - 1`.
    """
    for value in values:
        if not isinstance(value, int) or not 0 <= value < classes:
            hint = "set target_key, or a test_split whose labels are public"
            raise InputError(
                f"dataset: {where} contains the label {value!r}; labels must be integers "
                f"counted from 0; {hint}"
            )

    return torch.tensor(values, dtype=torch.int64)
