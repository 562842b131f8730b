"""torchvision's data sets, downloaded if they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from benchmark.data.sources._labels import RawLabels, assign_classes
from benchmark.data.sources.base import (
    TEST_SPLITS,
    Located,
    Part,
    Source,
    SourceKind,
)
from benchmark.errors import InputError, first_line
from benchmark.study import schema


class Torchvision(SourceKind[schema.Torchvision]):
    """`torch/<name>`: one of torchvision's data sets, read through timm."""

    prefix = "torch"
    argument = "<name>"

    def names(self) -> Sequence[str]:
        """Return the names of the torchvision data sets that a study can use."""
        return [f"{self.prefix}/{name}" for name in schema.TORCHVISION]

    def locate(self, dataset: schema.Torchvision, argument: str) -> Located:
        """Check the split names; the files are located when they are loaded."""
        train = dataset.train_split or "train"
        test = dataset.test_split or "validation"
        if train != "train" or test not in TEST_SPLITS:
            raise InputError(
                f"dataset: {dataset.name} has only the parts train and test; "
                "leave out train_split and test_split"
            )

        root = Path(dataset.root).resolve()
        return Located(str(root), lambda _: _load(dataset.name, root, train, test))


class _Images(Part):
    """A part that torchvision decodes."""

    def __init__(self, name: str, images: Any, labels: Tensor):
        self.name = name
        self.images = images
        self.labels = labels

    def where(self, index: int) -> str:
        return f"{self.name}: image {index}"

    def read(self, index: int) -> Image.Image:
        image: Image.Image = self.images[index][0]
        return image


def _load(name: str, root: Path, train: str, test: str) -> Source:
    train_images = _open(name, root, train)
    test_images = _open(name, root, test)
    labels = assign_classes(_raw_labels(name, train_images), _raw_labels(name, test_images))
    return Source(
        train=_Images(name, train_images, labels.train),
        test=_Images(name, test_images, labels.test),
        classes=labels.classes,
        names=labels.names,
        remarks=labels.remarks,
    )


def _raw_labels(name: str, images: Any) -> RawLabels:
    """Return the labels of a part; some data sets have several names for a class."""
    names = [
        class_name if isinstance(class_name, str) else ", ".join(class_name)
        for class_name in getattr(images, "classes", ())
    ]
    return RawLabels([int(label) for label in images.targets], name, names)


def _open(name: str, root: Path, split: str) -> Any:
    """Open a torchvision data set. Download it first if it is not in its folder."""
    from timm.data.dataset_factory import create_dataset

    try:
        try:
            return create_dataset(name, root=str(root), split=split, download=False)
        except RuntimeError:  # missing or incomplete
            root.mkdir(parents=True, exist_ok=True)
            return create_dataset(name, root=str(root), split=split, download=True)
    except Exception as error:  # torchvision raises errors of many kinds
        raise InputError(
            f"dataset: {name} is missing or damaged in {root} and cannot be downloaded "
            f"({first_line(error)}); put it there or set dataset.root"
        ) from error
