"""Speed of augmented batches: resident images against torchvision, PIL and a DataLoader.

    python -m tests.speed.loader [--dataset FOLDER] [--rounds 5] [--images 20000] [--batch-size 64]

Both crop at random after padding by 4 pixels and flip half of the 32x32 images. They take turns in
one process, so that any other load on the machine slows both; the ratio is of neighbouring rounds.
FOLDER holds CIFAR-100 as Hugging Face distributes it. Without it the pixels are random, which
makes no difference to either loader.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmark.data import Data, Resident
from benchmark.data.resident import ResidentSource
from benchmark.data.view import View
from benchmark.study.schema import Augmentation, Split, make_dataset

PADDING = 4
WORKERS = 2


class Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images as most repositories load them: decoded in memory, augmented one by one by PIL."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor):
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def open_source(folder: str | None, count: int) -> ResidentSource:
    """Return CIFAR-100's training images, or `count` random ones."""
    cpu = torch.device("cpu")
    if folder is not None:
        dataset = make_dataset(f"hfds/{folder}", input_key="img", target_key="fine_label")
        with tempfile.TemporaryDirectory() as cache:
            return Data(dataset, Split(val=0), cpu, Path(cache), print)._source  # type: ignore[return-value]

    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    random = Resident(images, torch.randint(0, 100, (count,)))
    return ResidentSource(None, random, random, cpu)  # type: ignore[arg-type]


def images_per_second(epoch: Callable[[], int]) -> float:
    """Run an epoch, which returns its number of images, and return its speed."""
    started = time.perf_counter()
    count = epoch()
    return count / (time.perf_counter() - started)


def parsed_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=64)
    return parser.parse_args()


def print_speeds(name: str, speeds: Sequence[float]) -> None:
    """Print the median and the range of a loader's speeds."""
    median = statistics.median(speeds)
    print(f"  {name:30} {median:8.0f} images/s ({min(speeds):.0f} to {max(speeds):.0f})")


def main() -> None:
    """Measure both loaders and print their speeds."""
    options = parsed_options()
    source = open_source(options.dataset, options.images)
    indices = torch.randperm(len(source.labels))[: options.images]
    images = source.subset(indices)
    augmentation = Augmentation(crop_padding=PADDING, flip=True)
    loader = DataLoader(
        Pictures(images.images, images.labels),
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,  # so that the start of the workers is not measured
    )

    def resident_epoch() -> int:
        view = View(0, 0, len(indices))
        batches = source.epoch(indices, options.batch_size, augmentation, view)
        return sum(len(batch) for batch in batches)

    def loader_epoch() -> int:
        return sum(len(batch) for batch, _ in loader)

    resident_epoch()  # warm-up
    loader_epoch()
    resident_speeds: list[float] = []
    loader_speeds: list[float] = []
    for _ in range(options.rounds):
        resident_speeds.append(images_per_second(resident_epoch))
        loader_speeds.append(images_per_second(loader_epoch))

    print(
        f"{len(indices)} images, batches of {options.batch_size}, "
        f"{torch.get_num_threads()} threads, median (range) of {options.rounds} rounds"
    )
    print_speeds("resident", resident_speeds)
    print_speeds(f"torchvision + PIL, {WORKERS} workers", loader_speeds)

    pairs = zip(resident_speeds, loader_speeds, strict=True)
    ratios = [resident / other for resident, other in pairs]
    median = statistics.median(ratios)
    print(f"  {'ratio':30} {median:8.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
