"""Decodes images that are kept in memory, and therefore must all have one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data.sources.base import Part, Source, raise_damaged
from benchmark.errors import InputError

CHUNK = 1024
"""Number of images that are decoded and written at a time."""

Pixels = npt.NDArray[np.uint8]


class Decoder:
    """Decodes images of a source, which must all have the shape of the first sound one.

    Attributes:
        shape: Channels, height and width of the first sound image.
        problems: A line for each image that is damaged.
    """

    def __init__(self, source: Source, image_size: int | None):
        """Find the first sound image.

        Args:
            source: The source.
            image_size: Size that all images get; None to keep theirs.

        Raises:
            InputError: All images are damaged.
        """
        self._fit = _fitting(image_size)
        self._first, pixels = self._first_sound(source)
        channels, height, width = pixels.shape
        self.shape = (channels, height, width)
        self.problems: list[str] = []

    def chunks(self, part: Part, pool: Executor) -> Iterator[Pixels]:
        """Yield all images of a part in order, [n, C, H, W].

        Damaged images are left out, and noted in `problems`.
        """
        for start in range(0, len(part), CHUNK):
            indices = range(start, min(start + CHUNK, len(part)))
            images = list(pool.map(lambda index: self._decode(part, index), indices))
            self.problems += [str(image) for image in images if isinstance(image, InputError)]
            whole = [image for image in images if not isinstance(image, InputError)]
            if whole:
                yield np.stack(whole)

    def _first_sound(self, source: Source) -> tuple[str, Pixels]:
        """Return the place and the pixels of the first image that is not damaged."""
        problems: list[str] = []
        for part in (source.train, source.test):
            for index in range(len(part)):
                try:
                    return part.where(index), self._fit(part.image(index))
                except InputError as error:
                    problems.append(str(error))

        raise_damaged(problems)
        raise InputError("dataset: has no images")

    def _decode(self, part: Part, index: int) -> Pixels | InputError:
        """Return the pixels of an image; if it is damaged, what is wrong with it.

        Raises:
            InputError: The image differs in size from the first one.
        """
        try:
            image = part.image(index)
        except InputError as error:
            return error

        pixels = self._fit(image)
        if pixels.shape == self.shape:
            return pixels

        first = f"{self._first} is {_sides(self.shape)}"
        other = f"{part.where(index)} is {_sides(pixels.shape)}"
        raise InputError(
            f"dataset: the images differ in size: {first}, {other} (width x height); set image_size"
        )


def _sides(shape: tuple[int, ...]) -> str:
    """Format the width and height of an image."""
    _, height, width = shape
    return f"{width}x{height}"


def _fitting(image_size: int | None) -> Callable[[Image.Image], Pixels]:
    """Return a function that turns an image into uint8 [3, H, W].

    With an image size, the shorter side is resized to it and the image is centre-cropped.
    """
    if image_size is None:
        return lambda image: np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    from timm.data.transforms_factory import create_transform

    transform = create_transform(
        image_size, interpolation="bicubic", crop_pct=1.0, use_prefetcher=True
    )
    return lambda image: np.ascontiguousarray(transform(image).numpy())
