"""Data sets of plug-ins: arrays, PyTorch data sets, and folders that a function returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.data.sources._labels import RawLabels, assign_classes
from benchmark.data.sources.base import Located, Part, Source
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
    parts = []
    raw = []
    for name, images, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        place = f"{where}: {name}"
        pixels = _pixels(np.asarray(images), f"{place} image")
        values = [_integer(label) for label in np.asarray(labels).reshape(-1)]
        if len(pixels) != len(values):
            raise InputError(f"{where}: {len(pixels)} {name} images, but {len(values)} labels")

        parts.append((pixels, f"{place} image"))
        raw.append(RawLabels(values, place, _texts(arrays.classes)))

    labels = assign_classes(*raw)
    train, test = (
        _ArrayPart(pixels, values, place)
        for (pixels, place), values in zip(parts, (labels.train, labels.test), strict=True)
    )
    return Source(train, test, labels.classes, labels.names, labels.remarks)


def _from_datasets(train: Any, test: Any, where: str) -> Source:
    labels = assign_classes(
        *(
            RawLabels(_labels_of(items, where), f"{where}: {name}", _class_names(items, train))
            for name, items in (("train", train), ("test", test))
        )
    )
    return Source(
        train=_DatasetPart(train, labels.train, f"{where}: train"),
        test=_DatasetPart(test, labels.test, f"{where}: test"),
        classes=labels.classes,
        names=labels.names,
        remarks=labels.remarks,
    )


def _class_names(items: Any, train: Any) -> list[str]:
    """Return the names of a data set's classes; one that has none has those of the training set."""
    names = getattr(items, "classes", None)
    if names is None:
        names = getattr(train, "classes", None)
    return _texts(names)


def _texts(names: Any) -> list[str]:
    return [] if names is None else [str(name) for name in names]


def _labels_of(items: Any, where: str) -> list[Any]:
    """Return all labels of a PyTorch data set, without reading images where it has `targets`."""
    try:
        targets = getattr(items, "targets", None)
        if targets is None:
            targets = [items[index][1] for index in range(len(items))]
        return [_integer(label) for label in targets]
    except Exception as error:  # a data set of a plug-in may raise anything
        raise InputError(
            f"{where}: its items are not (image, label): {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


def _integer(label: Any) -> Any:
    """Return a label as an integer if it is one, and otherwise as plain data."""
    value = label.item() if hasattr(label, "item") else label
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole or isinstance(value, bool) else value


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
