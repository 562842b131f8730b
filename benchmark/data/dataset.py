"""A data set under a study's split, on a device: what the training loop asks for images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.data.augmentation import Squares
from benchmark.data.images import Images, Loaded
from benchmark.data.mixing import Mixer
from benchmark.data.resident import ResidentSource, open_resident
from benchmark.data.split import divide, duplicates
from benchmark.errors import InputError
from benchmark.records.seal import Finished
from benchmark.study.schema import Dataset, RandAugment, Recipe, Split

if TYPE_CHECKING:
    from benchmark.data.streamed import StreamedSource


class Data:
    """Training images by epoch, validation images, and test images for whoever has finished training.

    size: channels, height and width of an image. mean, std: of all training images of the source, per channel in
    [0, 1]. samples: number of images that are trained on. duplicates: see `split.duplicates`. val: None in the legacy
    protocol.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        device: torch.device,
        cache: Path,
        say: Callable[[str], None],
    ):
        """Reads and divides.  cache: a folder for decoded images and what is known of files; say: a line for people.

        Raises InputError for a source that is missing or damaged, and for a split that leaves no images.
        """
        self.dataset, self.name, self.device = dataset, dataset.name, device
        self._source: ResidentSource | StreamedSource
        if dataset.loading == "streamed":
            from benchmark.data.streamed import open_streamed  # timm takes seconds to import

            self._source = open_streamed(dataset, device, cache, say)
        else:
            self._source = open_resident(dataset, device, cache, say)
        facts, labels = self._source.facts, self._source.labels
        self.classes, self.fingerprint, self.size = facts.classes, facts.fingerprint, facts.size
        self.mean, self.std = facts.mean, facts.std
        self.train_index, self.val_index = divide(labels, split)
        self.samples = len(self.train_index)
        self.duplicates = duplicates(facts.twins, self.train_index, self.val_index, len(labels))
        self.val: Images | None = None if split.legacy else self._source.images(self.val_index)
        self._places = self.train_index.to(device)
        self._labels = labels[self.train_index].to(device)

    def split_record(self) -> dict[str, list[int] | dict[str, int]]:
        """Which of the source's training images train and which validate, and the duplicates across parts."""
        places = {"train": self.train_index.tolist(), "val": self.val_index.tolist()}
        return {**places, "duplicates": self.duplicates}

    def test(self, evidence: Finished) -> Images:
        """The test images, for a cell whose training is over. Raises SealedError for any other."""
        evidence.verify()
        return self._source.test()

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch; the last incomplete one is left out. Raises InputError if there is none."""
        steps = self.samples // batch_size
        if steps == 0:
            raise InputError(
                f"recipe.batch_size is {batch_size}; there are only {self.samples} training images"
            )
        return steps

    @property
    def labels(self) -> Tensor:
        """Of the images that are trained on: int64 [samples], on the device."""
        return self._labels

    def epoch(self, seed: int, epoch: int, recipe: Recipe, views: bool = False) -> Iterator[Loaded]:
        """The batches of one epoch, augmented and mixed; with `views`, each with a second view of its images.

        All that is random depends on seed and epoch alone and is drawn on the CPU, each role from a stream of its own,
        so any epoch can be replayed on any device, and a second view changes nothing of the first. The second view is
        augmented as the recipe says, and by RandAugment.
        """
        batches = self._view(seed, epoch, recipe, seed)
        if not views:
            yield from batches
            return
        strong = recipe.augmentation.randaugment or RandAugment()
        augmentation = recipe.augmentation.model_copy(update={"randaugment": strong})
        other = recipe.model_copy(update={"augmentation": augmentation})
        for first, second in zip(
            batches, self._view(seed, epoch, other, seeds.derive(seed, "second view")), strict=True
        ):
            yield replace(first, second=second.images)

    def _view(self, seed: int, epoch: int, recipe: Recipe, draws: int) -> Iterator[Loaded]:
        """One view of an epoch. Order and mixing come from `seed`, the augmentation from the seed `draws`."""
        count, size, wanted = self.samples, recipe.batch_size, recipe.augmentation
        order = torch.randperm(count, generator=seeds.generator(seed, "order", epoch)).to(
            self.device
        )
        mixer, squares = Mixer(recipe, self.classes, seed, epoch), None
        if wanted.cutout is not None:
            colour = torch.tensor(self.mean, dtype=torch.float32, device=self.device)
            squares = Squares(wanted.cutout, colour, draws, epoch, count, self.size)
        steps = self.steps(size)
        loaded = self._source.epoch(self._places[order], size, wanted, draws, epoch)
        for step, images in zip(range(steps), loaded, strict=True):
            at = slice(step * size, (step + 1) * size)
            index = order[at]
            if squares is not None:
                images = squares.cut(images, at)
            yield mixer.mix(Loaded(images, self._labels[index], index))
