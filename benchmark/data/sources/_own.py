"""Data sets of plug-ins: arrays, PyTorch data sets, and folders that a function returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.data.sources.base import Located, Part, Source, class_labels
from benchmark.errors import InputError, first_line
from benchmark.plugins import Arrays
from benchmark.plugins.kinds import DATA_SOURCES
from benchmark.study import schema

Pixels = npt.NDArray[np.uint8]


def locate_own(
    dataset: schema.OwnData, in_folder: Callable[[schema.ClassFolders], Located]
) -> Located:
    """Call the function of a plug-in that returns a data set.

    Args:
        dataset: The data set's section of the study.
        in_folder: Finds the data set in a folder, if that is what the function returns.

    Raises:
        InputError: The function raises an error, or returns something that is not a data set.
    """
    where = f"dataset {dataset.name!r}"
    function = DATA_SOURCES.get(dataset.name)
    if function is None:
        raise InputError(f"{where}: no plug-in provides it; name the plug-in under `plugins`")

    try:
        content = function(**dataset.settings)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # a plug-in may raise anything
        raise InputError(
            f"{where}: its plug-in failed: {type(error).__name__}: {first_line(error)}"
        ) from error

    if isinstance(content, str | Path):
        path = Path(content).absolute()
        folders = schema.ClassFolders(name=f"folder/{path}", image_size=dataset.image_size)
        return in_folder(folders)
    if isinstance(content, Arrays):
        return Located(None, lambda _: _from_arrays(content, where))
    if isinstance(content, tuple) and len(content) == 2:
        return Located(None, lambda _: _from_datasets(*content, where))

    raise InputError(
        f"{where}: its plug-in returned {type(content).__name__}; return Arrays, a pair of "
        "PyTorch data sets (training, test), or the path of a folder"
    )


class _ArrayPart(Part):
    """Images in memory, uint8 [N, H, W] or [N, H, W, 3]."""

    def __init__(self, pixels: Pixels, labels: torch.Tensor, name: str):
        self.pixels = pixels
        self.labels = labels
        self.name = name

    def where(self, index: int) -> str:
        return f"{self.name} {index}"

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])


class _DatasetPart(Part):
    """A map-style PyTorch data set, whose items are (image, label)."""

    def __init__(self, items: Any, labels: torch.Tensor, name: str):
        self.items = items
        self.labels = labels
        self.name = name

    def where(self, index: int) -> str:
        return f"{self.name} {index}"

    def read(self, index: int) -> Image.Image:
        image = self.items[index][0]
        if isinstance(image, Image.Image):
            return image
        return Image.fromarray(_pixels(np.asarray(image)[None], self.name)[0])


def _from_arrays(arrays: Arrays, where: str) -> Source:
    labels = [
        [int(label) for label in np.asarray(values).reshape(-1)]
        for values in (arrays.train_labels, arrays.test_labels)
    ]
    classes = _count_classes(labels, arrays.classes)

    parts = []
    for name, images, values in zip(
        ("train", "test"), (arrays.train_images, arrays.test_images), labels, strict=True
    ):
        place = f"{where}: {name} image"
        pixels = _pixels(np.asarray(images), place)
        if len(pixels) != len(values):
            raise InputError(f"{where}: {len(pixels)} {name} images, but {len(values)} labels")
        parts.append(_ArrayPart(pixels, class_labels(values, classes, f"{where}: {name}"), place))

    return Source(parts[0], parts[1], classes)


def _from_datasets(train: Any, test: Any, where: str) -> Source:
    labels = [_labels_of(items, where) for items in (train, test)]
    classes = _count_classes(labels, getattr(train, "classes", None))

    parts = [
        _DatasetPart(items, class_labels(values, classes, f"{where}: {name}"), f"{where}: {name}")
        for name, items, values in zip(("train", "test"), (train, test), labels, strict=True)
    ]
    return Source(parts[0], parts[1], classes)


def _labels_of(items: Any, where: str) -> list[int]:
    """Return all labels of a PyTorch data set, without reading images where it has `targets`."""
    try:
        targets = getattr(items, "targets", None)
        if targets is None:
            targets = [items[index][1] for index in range(len(items))]
        return [int(label) for label in targets]
    except Exception as error:  # a data set of a plug-in may raise anything
        raise InputError(
            f"{where}: its items are not (image, label): {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


def _count_classes(labels: list[list[int]], names: Any) -> int:
    if names is not None:
        return len(names)
    return 1 + max((max(values) for values in labels if values), default=0)


def _pixels(images: npt.NDArray[Any], where: str) -> Pixels:
    """Return images as uint8 [N, H, W] or [N, H, W, 3]."""
    channels = (1, 3)
    if images.ndim == 4 and images.shape[-1] not in channels and images.shape[1] in channels:
        images = np.moveaxis(images, 1, -1)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]

    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise InputError(
            f"{where}s have shape {images.shape}; they must be [N, H, W], [N, H, W, C] or "
            "[N, C, H, W] with 1 or 3 channels"
        )
    if not len(images):
        raise InputError(f"{where}: there are none")

    if np.issubdtype(images.dtype, np.floating):
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"{where}s have values from {low:g} to {high:g}; floating-point pixels must be in "
                "[0, 1]"
            )
        images = np.round(images * 255).astype(np.uint8)
    if images.dtype != np.uint8:
        raise InputError(f"{where}s are {images.dtype}; use uint8, or floating-point in [0, 1]")
    return np.ascontiguousarray(images)
