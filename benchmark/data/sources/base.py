"""The contract of a data source: training and test images that are decoded one at a time."""

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
"""Names of the test images' split, in the order in which they are tried."""


class Part(ABC):
    """The training or the test images of a data set, decoded on demand.

    Any thread or process may read from a part.

    Attributes:
        labels: The label of each image, int64 [N].
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def where(self, index: int) -> str:
        """Name an image in a message to a person."""

    @abstractmethod
    def read(self, index: int) -> Image.Image | IO[bytes] | Path:
        """Return an image, or the file or path to decode it from."""

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
        except Exception as error:  # decoders raise errors of many kinds for a damaged image
            message = f"{self.where(index)}: cannot be decoded ({first_line(error)}); replace it"
            raise InputError(message) from error

    def digest(self, index: int) -> str:
        """Return the SHA-256 of an image's content."""
        image = self.image(index)
        return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()

    def digests(self, pool: Executor, memo_folder: Path) -> list[str]:
        """Return the digests of all images.

        Args:
            pool: Computes them in parallel.
            memo_folder: Where a part may keep digests that take long to compute.
        """
        return list(pool.map(self.digest, range(len(self))))

    def title(self, index: int) -> str:
        """Name an image within the data set; the name is part of the fingerprint."""
        return str(index)


@dataclass(frozen=True)
class Source:
    """A data set in its original two parts.

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
        signature: Plain data that change when the images may have changed. None for a source so
            quick to read that its images are not cached.
        load: Reads the data set. Its argument is a folder for files that the parts need while
            they are in use.
    """

    signature: Any
    load: Callable[[Path], Source]


class SourceKind(ABC, Generic[D]):
    """One kind of data source, chosen by the prefix of the data set's name in a study.

    Attributes:
        prefix: What the name starts with, up to the first slash.
        argument: Placeholder for what follows the slash, as messages show it. Empty for a kind
            whose prefix is the whole name.
    """

    prefix: ClassVar[str]
    argument: ClassVar[str] = ""

    @abstractmethod
    def locate(self, dataset: D, argument: str) -> Located:
        """Find a data set of this kind.

        Args:
            dataset: What the study says about the data set.
            argument: What follows the prefix and the slash in the data set's name.

        Raises:
            InputError: There is no such data set, or an option does not fit it.
        """

    def names(self) -> Sequence[str]:
        """Return the names of this kind that a message can suggest."""
        return [f"{self.prefix}/{self.argument}" if self.argument else self.prefix]


def split_names(dataset: FileDataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names to try for the split of the training and of the test images."""
    train = dataset.train_split or "train"
    test = (dataset.test_split,) if dataset.test_split else TEST_SPLITS
    return (train,), test


def class_labels(values: Sequence[Any], classes: int, where: str) -> Tensor:
    """Return labels as int64 [N].

    Args:
        values: The labels as the source gives them.
        classes: Number of classes.
        where: The source of the labels, for the message.

    Raises:
        InputError: A label is not a class from 0 to `classes - 1`.
    """
    for value in values:
        if not isinstance(value, int) or not 0 <= value < classes:
            hint = "set target_key, or a test_split whose labels are public"
            raise InputError(
                f"dataset: {where} holds {value!r}; labels are whole numbers from 0; {hint}"
            )

    return torch.tensor(values, dtype=torch.int64)
