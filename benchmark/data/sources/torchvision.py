"""Data sets of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from benchmark.data.sources.base import TEST_SPLITS, Located, Part, Source
from benchmark.data.sources.huggingface import labels_of
from benchmark.errors import InputError, first_line
from benchmark.study.schema import Torchvision


class _Torch(Part):
    def __init__(self, name: str, images: Any, classes: int):
        self.name, self.images = name, images
        self.labels = labels_of(list(map(int, images.targets)), classes, name)

    def where(self, place: int) -> str:
        return f"{self.name}: image {place}"

    def read(self, place: int) -> Image.Image:
        image: Image.Image = self.images[place][0]
        return image


def torch_data(dataset: Torchvision) -> Located:
    """The data set that `torch/<name>` means. Raises InputError."""
    train, test = dataset.train_split or "train", dataset.test_split or "validation"
    if train != "train" or test not in TEST_SPLITS:
        raise InputError(
            f"dataset: {dataset.name} has no parts but train and test; leave out train_split, test_split"
        )
    root = Path(dataset.root).resolve()

    def load(_: Path) -> Source:
        parts = [_torchvision(dataset.name, root, split) for split in (train, test)]
        classes = len(getattr(parts[0], "classes", ())) or 1 + max(map(int, parts[0].targets))
        train_part, test_part = (_Torch(dataset.name, part, classes) for part in parts)
        return Source(train_part, test_part, classes)

    return Located(str(root), load)


def _torchvision(name: str, root: Path, split: str) -> Any:
    """A data set of torchvision, downloaded if it is not in its folder."""
    from timm.data.dataset_factory import create_dataset

    try:
        try:
            return create_dataset(name, root=str(root), split=split, download=False)
        except RuntimeError:  # not there, or not whole
            root.mkdir(parents=True, exist_ok=True)
            return create_dataset(name, root=str(root), split=split, download=True)
    except Exception as error:  # whatever torchvision raises, it has no whole data set
        message = f"dataset: {name} is not in {root}, or damaged, and cannot be downloaded ({first_line(error)})"
        raise InputError(f"{message}; put it there or set dataset.root") from error
