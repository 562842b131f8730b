"""Small data sets for tests of data, written into a folder, and what is read from them."""

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
"""A folder beside the checkout, for data and weights that are too large for it."""

CIFAR = SHARED / "data" / "cifar100"
needs_cifar = pytest.mark.skipif(
    not CIFAR.is_dir(), reason="no data/cifar100 in the folder KDBENCH_SHARED"
)


def opened(name, folder, said=None, split=None, **options):
    """A data set below a folder, with its cache there."""
    dataset = make_dataset(name, root=str(folder), **options)
    say = ([] if said is None else said).append
    return Data(dataset, Split(**(split or {"val": 4})), CPU, Path(folder) / "cache", say)


def digits(**split):
    """The digits, which need no files."""
    return Data(make_dataset("digits"), Split(**split), CPU, Path("nowhere"), pytest.fail)


def training(data):
    """The training images, in the order of their places."""
    return data._source.images(data.train_index)


def recipe(batch_size=64, augmentation=None, **options):
    """A recipe as far as data go."""
    return Recipe(
        epochs=1, batch_size=batch_size, augmentation=augmentation or Augmentation(), **options
    )


def epoch(data, seed=0, number=0, batch_size=64, augmentation=None, **options):
    """One epoch's images, labels and places, each as one tensor."""
    batches = list(data.epoch(seed, number, recipe(batch_size, augmentation, **options)))
    return [
        torch.cat([getattr(batch, what) for batch in batches])
        for what in ("images", "labels", "index")
    ]


def picture(number, width=12, height=10):
    """An RGB image that no other number has."""
    draw = np.random.default_rng(number)
    coarse = Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BILINEAR)


def class_folders(folder, counts=(("train", 8), ("test", 4)), classes="abc", suffix="png", **size):
    """Folders of images: `folder/train/a/0.png` and so on."""
    number = 0
    for part, count in counts:
        for name in classes:
            place = Path(folder, part, name)
            place.mkdir(parents=True)
            for index in range(count):
                picture(number, **size).save(place / f"{index}.{suffix}")
                number += 1
    return Path(folder)


def parquet(folder, counts=(("train", 12), ("test", 6)), image="image", label="label", labels=None):
    """A Hugging Face data set of three classes, as files of columns."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {image: datasets.Image(), label: datasets.ClassLabel(names=["x", "y", "z"])}
    )
    if labels is not None:
        features[label] = datasets.Value(labels)
    Path(folder).mkdir(parents=True)
    number = 0
    for part, count in counts:
        numbers = range(number, number + count)
        values = [one % 3 if labels != "string" else "xyz"[one % 3] for one in numbers]
        rows = {image: [picture(one) for one in numbers], label: values}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(
            Path(folder, f"{part}.parquet")
        )
        number += count
    return Path(folder)


def mnist(folder, train=30, test=10):
    """Files as MNIST has them."""
    place = Path(folder, "MNIST", "raw")
    place.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        pixels = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (place / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">iiii", 2051, count, 28, 28) + pixels.tobytes()
        )
        (place / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 2049, count) + labels.tobytes()
        )
    return Path(folder)
