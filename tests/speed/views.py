"""What a second view of each batch costs: batches with it against batches without it.

    OMP_NUM_THREADS=1 python -m tests.speed.views [--rounds 5] [--images 20000] [--batch-size 64]

Both views crop at random after padding by 4 pixels and flip half of the 32x32 images; the second
also applies RandAugment, two operations per image. Epochs with and without it take turns in one
process, so that any other load on the machine slows both; the ratio is of neighbouring rounds.
Pixels are random.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmark.data import Data
from benchmark.plugins import Arrays
from benchmark.plugins.kinds import DATA_SOURCES
from benchmark.study.schema import Augmentation, Recipe, Split, make_dataset

CLASSES = 100


def open_data(count: int, folder: Path) -> Data:
    """Return random images, with a few of them as test images."""
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    arrays = Arrays(images, labels, images[:CLASSES], labels[:CLASSES])
    DATA_SOURCES.add("random_images", lambda: arrays, open_data)
    cpu = torch.device("cpu")
    return Data(make_dataset("random_images"), Split(val=0), cpu, folder, lambda _: None)


def seconds_per_batch(data: Data, recipe: Recipe, *, views: bool) -> float:
    """Return the mean time of a batch of an epoch."""
    started = time.perf_counter()
    count = sum(1 for _ in data.epoch(0, 0, recipe, views))
    return (time.perf_counter() - started) / count


def print_times(name: str, seconds: Sequence[float]) -> None:
    """Print the median and the range of the times of a batch."""
    low, median, high = (1e3 * each(seconds) for each in (min, statistics.median, max))
    print(f"  {name:20} {median:6.2f} ms per batch ({low:.2f} to {high:.2f})")


def main() -> None:
    """Measure, and print both times and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()

    augmentation = Augmentation(crop_padding=4, flip=True)
    recipe = Recipe(epochs=1, batch_size=options.batch_size, augmentation=augmentation)
    plain: list[float] = []
    viewed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(options.images, Path(folder))
        seconds_per_batch(data, recipe, views=True)  # a warm-up
        for _ in range(options.rounds):
            plain.append(seconds_per_batch(data, recipe, views=False))
            viewed.append(seconds_per_batch(data, recipe, views=True))

    print(
        f"{options.images} images, batches of {options.batch_size}, "
        f"{torch.get_num_threads()} threads, median (range) of {options.rounds} rounds"
    )
    print_times("one view", plain)
    print_times("two views", viewed)

    ratios = [two / one for one, two in zip(plain, viewed, strict=True)]
    median = statistics.median(ratios)
    print(f"  {'ratio':20} {median:6.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
