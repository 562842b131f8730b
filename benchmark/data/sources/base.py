"""What a source of data is: training and test images, decoded one at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image
from torch import Tensor

from benchmark.errors import InputError, first_line
from benchmark.study.schema import FileDataset

TEST_SPLITS = ("test", "validation", "val")


class Part(ABC):
    """Labelled images that are decoded when they are asked for, in any thread or process.  labels: int64 [N]."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def where(self, place: int) -> str:
        """Which image this is, for messages."""

    @abstractmethod
    def read(self, place: int) -> Image.Image | IO[bytes] | Path:
        """An image, or what it is decoded from."""

    def image(self, place: int) -> Image.Image:
        """An image in RGB. Raises InputError if it cannot be decoded."""
        try:
            found = self.read(place)
            if isinstance(found, Image.Image):
                return found.convert("RGB")
            with Image.open(found) as opened:
                return opened.convert("RGB")
        except Exception as error:  # whatever a decoder raises, the image is what is wrong
            raise InputError(
                f"{self.where(place)}: cannot be decoded ({first_line(error)}); replace it"
            ) from error

    def digest(self, place: int) -> str:
        """SHA-256 of what an image shows."""
        image = self.image(place)
        return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()

    def title(self, place: int) -> str:
        """The name of an image inside the data set."""
        return str(place)


@dataclass(frozen=True)
class Source:
    """A data set as it comes."""

    train: Part
    test: Part
    classes: int


@dataclass(frozen=True)
class Located:
    """A data set that has been found, but not read.

    signature: of what lies where, plain data that change when the images may have; None if reading it costs nothing.
    load: reads it, given a folder for files that are needed as long as its images are.
    """

    signature: Any
    load: Callable[[Path], Source]


def splits(dataset: FileDataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names under which the training images and the test images are looked for."""
    test = (dataset.test_split,) if dataset.test_split else TEST_SPLITS
    return (dataset.train_split or "train",), test
