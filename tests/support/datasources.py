"""Writes small data sets for tests to a folder, and reads them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import Data
from benchmark.study.schema import Augmentation, Recipe, Split, make_dataset

CPU = torch.device("cpu")

SHARED = Path(os.environ.get("KDBENCH_SHARED", Path(__file__).parents[3] / "shared")).absolute()
"""Folder next to the checkout, for data and weights that are too large for it."""

CIFAR = SHARED / "data" / "cifar100"

needs_cifar = pytest.mark.skipif(
    not CIFAR.is_dir(), reason="no data/cifar100 in the folder KDBENCH_SHARED"
)


def opened(name, folder, messages=None, split=None, **options):
    """Open a data set below a folder, with its cache in the same folder."""
    dataset = make_dataset(name, root=str(folder), **options)
    say = ([] if messages is None else messages).append
    return Data(dataset, Split(**(split or {"val": 4})), CPU, Path(folder) / "cache", say)


def digits(**split):
    """Open the digits, which need no files and no cache."""
    return Data(make_dataset("digits"), Split(**split), CPU, Path("nowhere"), pytest.fail)


def training(data):
    """Return the training inputs, in the order of their indices."""
    return data._source.subset(data.train_index)


def recipe(batch_size=64, augmentation=None, **options):
    """Return a recipe with the settings that concern data."""
    return Recipe(
        epochs=1, batch_size=batch_size, augmentation=augmentation or Augmentation(), **options
    )


def epoch(data, seed=0, number=0, batch_size=64, augmentation=None, **options):
    """Return the inputs, labels and indices of one epoch, each as one tensor."""
    batches = list(data.epoch(seed, number, recipe(batch_size, augmentation, **options)))
    return [
        torch.cat([getattr(batch, field) for batch in batches])
        for field in ("inputs", "labels", "index")
    ]


def picture(number, width=12, height=10):
    """Draw an RGB image that is unique to a number."""
    generator = np.random.default_rng(number)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BILINEAR)


def class_folders(folder, counts=(("train", 8), ("test", 4)), classes="abc", suffix="png", **size):
    """Write images to class folders: `folder/train/a/0.png` and so on."""
    number = 0
    for part, count in counts:
        for class_name in classes:
            class_folder = Path(folder, part, class_name)
            class_folder.mkdir(parents=True)
            for index in range(count):
                picture(number, **size).save(class_folder / f"{index}.{suffix}")
                number += 1

    return Path(folder)


def parquet(folder, counts=(("train", 12), ("test", 6)), image="image", label="label", labels=None):
    """Write a Hugging Face data set of three classes.

    Args:
        folder: Where to write its Parquet files.
        counts: Name of each split and its number of images.
        image: Name of the column of images.
        label: Name of the column of labels.
        labels: Type of the labels; by default they are named classes.
    """
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {image: datasets.Image(), label: datasets.ClassLabel(names=["x", "y", "z"])}
    )
    if labels is not None:
        features[label] = datasets.Value(labels)

    Path(folder).mkdir(parents=True)
    first = 0
    for part, count in counts:
        numbers = range(first, first + count)
        values = [number % 3 for number in numbers]
        if labels == "string":
            values = ["xyz"[value] for value in values]
        rows = {image: [picture(number) for number in numbers], label: values}
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(Path(folder, f"{part}.parquet"))
        first += count

    return Path(folder)


def mnist(folder, train=30, test=10):
    """Write files in the format of MNIST."""
    raw = Path(folder, "MNIST", "raw")
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">iiii", 2051, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())

        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">ii", 2049, count)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())

    return Path(folder)
