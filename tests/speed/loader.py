"""How fast augmented batches come: resident images against torchvision, PIL and a DataLoader with two workers.

    python tests/speed_loader.py [--dataset FOLDER] [--rounds 5] [--images 20000] [--batch-size 64]

Both crop at random after padding by 4 pixels and flip every second image of 32x32. The two take turns in one process,
so that whatever else the machine does slows both; the ratio is of neighbouring rounds. FOLDER is CIFAR-100 as Hugging
Face has it; without it the pixels are random, which costs neither loader more or less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmark.data import Data, Resident
from benchmark.data.resident import ResidentSource
from benchmark.study.schema import Augmentation, Split, make_dataset

PADDING = 4


class Pictures(torch.utils.data.Dataset):
    """The images as most repositories of the field have them: decoded in memory, then through PIL one by one."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor):
        self.images, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[place])), self.labels[place]


def source(folder: str | None, count: int) -> ResidentSource:
    """CIFAR-100's training images, or so many random ones."""
    if folder is not None:
        dataset = make_dataset(f"hfds/{folder}", input_key="img", target_key="fine_label")
        with tempfile.TemporaryDirectory() as cache:
            return Data(dataset, Split(val=0), torch.device("cpu"), Path(cache), print)._source
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    random = Resident(images, torch.randint(0, 100, (count,)))
    return ResidentSource(None, random, random, torch.device("cpu"))


def speed(epoch: Callable[[], int]) -> float:
    """Images per second of one epoch."""
    started = time.perf_counter()
    count = epoch()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    resident = source(options.dataset, options.images)
    places = torch.randperm(len(resident.labels))[: options.images]
    chosen = resident.images(places)
    augmentation = Augmentation(crop_padding=PADDING, flip=True)
    loader = DataLoader(
        Pictures(chosen.images, chosen.labels),
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,  # so that starting them is not measured
    )

    def ours() -> int:
        return sum(map(len, resident.epoch(places, options.batch_size, augmentation, 0, 0)))

    def theirs() -> int:
        return sum(len(images) for images, _ in loader)

    speed(ours), speed(theirs)  # warm-up
    rounds = [(speed(ours), speed(theirs)) for _ in range(options.rounds)]
    print(
        f"{len(places)} images, batches of {options.batch_size}, {torch.get_num_threads()} threads, ",
        end="",
    )
    print(f"median (range) of {options.rounds} rounds")
    for name, found in zip(
        ("resident", "torchvision + PIL, 2 workers"), zip(*rounds, strict=True), strict=True
    ):
        print(
            f"  {name:30} {statistics.median(found):8.0f} images/s ({min(found):.0f} to {max(found):.0f})"
        )
    ratios = [one / other for one, other in rounds]
    print(
        f"  {'ratio':30} {statistics.median(ratios):8.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
