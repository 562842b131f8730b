"""A data set, split as a study specifies and read onto one device, for the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.data.inputs import Inputs, InputSource, Loaded
from benchmark.data.mixing import Mixer
from benchmark.data.resident import open_resident
from benchmark.data.split import divide, duplicates, test_part
from benchmark.data.training_set import TrainingSet
from benchmark.data.view import View
from benchmark.errors import InputError
from benchmark.records.seal import Finished
from benchmark.study.schema import Dataset, RandAugment, Recipe, Split


class Data:
    """Training inputs by epoch, validation inputs, and test inputs for finished cells.

    Attributes:
        classes: Number of classes.
        class_names: Name of each class; empty if they are only numbers.
        fingerprint: SHA-256 of the data set's content.
        size: Shape of one input: channels, height and width.
        mean: Mean of all training images of the source, per channel, in [0, 1].
        std: Standard deviation of the same images, per channel.
        samples: Number of inputs in the training set.
        train_index: Indices of the training set in the source's training part, int64 [samples].
        val_index: Indices of the validation inputs in the same part of the source.
        val: The validation inputs; None in the legacy protocol.
        test_index: Indices of the test inputs that are used, in the source's test part; None if all
            are used.
        test_part: The keys of the split that choose them; None if all are used.
        duplicates: Number of equal inputs across parts; see `split.duplicates`.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        device: torch.device,
        cache: Path,
        say: Callable[[str], None],
    ):
        """Read and split a data set.

        Args:
            dataset: The data set's section of the study.
            split: How its training inputs are split.
            device: Device of all batches and labels.
            cache: Folder for decoded images and for the hashes of files.
            say: Receives messages for the user, one line each.

        Raises:
            InputError: The source is missing or damaged, or it cannot be split as requested.
        """
        self.dataset = dataset
        self.name = dataset.name
        self.device = device
        self._source = _open(dataset, device, cache, say)

        facts = self._source.facts
        for remark in facts.remarks:
            say(f"dataset {dataset.name}: {remark}")
        self.classes = facts.classes
        self.class_names = facts.names
        self.fingerprint = facts.fingerprint
        self.size = facts.size
        self.mean = facts.mean
        self.std = facts.std

        labels = self._source.labels
        self.train_index, self.val_index = divide(labels, split)
        self.samples = len(self.train_index)
        self.test_index = test_part(self._source.test_labels, split)
        self.test_part = split.test_part
        self.duplicates = duplicates(
            facts.twins, self.train_index, self.val_index, len(labels), self.test_index
        )
        self.val: Inputs | None = None if split.legacy else self._source.subset(self.val_index)
        self._training = TrainingSet(
            self._source, self.train_index.to(device), labels[self.train_index].to(device), device
        )

    def split_record(self) -> dict[str, list[int] | dict[str, int] | list[str]]:
        """Return the indices of the training and validation inputs, and the duplicates.

        The indices of the test inputs follow if only a part of them is used, and the names of the
        classes if they have names.
        """
        record: dict[str, list[int] | dict[str, int] | list[str]] = {
            "train": self.train_index.tolist(),
            "val": self.val_index.tolist(),
            "duplicates": self.duplicates,
        }
        if self.test_index is not None:
            record["test"] = self.test_index.tolist()
        if self.class_names:
            record["classes"] = list(self.class_names)
        return record

    @property
    def tested(self) -> tuple[int, int] | None:
        """Number of test inputs that are used, and of all; None if all are used."""
        if self.test_index is None:
            return None
        return len(self.test_index), len(self._source.test_labels)

    @property
    def trained_on(self) -> tuple[int, int] | None:
        """Number of test inputs that are also training inputs, and of all that are used.

        None if there are no such inputs.
        """
        equal = self.duplicates["train/test"]
        if equal == 0:
            return None
        return equal, self.tests

    def test(self, evidence: Finished) -> Inputs:
        """Return the test inputs for a cell that has finished training.

        Raises:
            SealedError: The cell's journal does not show that training has finished.
        """
        evidence.verify()
        return self._source.test(self.test_index)

    @property
    def tests(self) -> int:
        """Number of test inputs that are used."""
        used = self._source.test_labels if self.test_index is None else self.test_index
        return len(used)

    def steps(self, batch_size: int) -> int:
        """Return the number of full batches in an epoch.

        Raises:
            InputError: There are too few training inputs for one batch.
        """
        steps = self.samples // batch_size
        if steps == 0:
            raise InputError(
                f"recipe.batch_size is {batch_size}, but there are only {self.samples} training "
                "images; choose a smaller batch size"
            )

        return steps

    @property
    def labels(self) -> Tensor:
        """Labels of the training set, int64 [samples], on the device."""
        return self._training.labels

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the order of the training set in an epoch, int64 [samples], on the CPU."""
        return torch.randperm(self.samples, generator=seeds.generator(seed, "order", epoch))

    def epoch(
        self, seed: int, epoch: int, recipe: Recipe, views: bool = False, start: int = 0
    ) -> Iterator[Loaded]:
        """Yield the batches of one epoch, augmented and mixed.

        Every random choice depends on `seed` and `epoch` alone and is drawn on the CPU, each role
        from its own stream. Any epoch can therefore be replayed on any device, and adding a second
        view leaves the first unchanged.

        Args:
            seed: The seed of the run.
            epoch: Number of the epoch.
            recipe: The recipe, for its batch size, augmentation and mixing.
            views: Whether each batch has a second view, augmented by RandAugment as well.
            start: Number of batches to leave out at the beginning; their images are not read.
        """
        steps = self.steps(recipe.batch_size)
        mixer = Mixer(recipe, self.classes, seed, epoch, steps, self.size[1:], self.device)
        order = self.order(seed, epoch)
        view = View(seed, epoch, self.samples)
        if recipe.teacher_cache is not None:
            view = View(seed, epoch % recipe.teacher_cache, self.samples, order)

        order = order.to(self.device)
        batches = self._training.batches(order, mixer, recipe, view, start)
        if not views:
            yield from batches
            return

        second_view, strong_recipe = _second(view, recipe)
        second_batches = self._training.batches(order, mixer, strong_recipe, second_view, start)
        for first, second in zip(batches, second_batches, strict=True):
            yield replace(first, second=second.inputs)

    def fixed_view(
        self, seed: int, number: int, recipe: Recipe, batch_size: int, *, second: bool = False
    ) -> Iterator[Loaded]:
        """Yield the whole training set in its own order, in one of the views of `teacher_cache`.

        All batches have the same size: the last one ends with images from the beginning.

        Args:
            seed: The seed of the run.
            number: Number of the view: the epoch modulo `teacher_cache`.
            recipe: The recipe, for its augmentation.
            batch_size: Images per batch.
            second: Whether the images are shown in their second view.
        """
        padded = self.samples + -self.samples % batch_size
        order = torch.arange(padded) % self.samples
        view = View(seed, number, self.samples, order)
        if second:
            view, recipe = _second(view, recipe)

        recipe = recipe.model_copy(update={"batch_size": batch_size})
        unmixed = Mixer(recipe, self.classes, seed, number, 0, self.size[1:], self.device)
        yield from self._training.batches(order.to(self.device), unmixed, recipe, view, 0)


def _second(view: View, recipe: Recipe) -> tuple[View, Recipe]:
    """Return the second view that belongs to a view, and a recipe with its augmentation."""
    strong = recipe.augmentation.randaugment or RandAugment()
    augmentation = recipe.augmentation.model_copy(update={"randaugment": strong})
    second = replace(view, seed=seeds.derive(view.seed, "second view"))
    return second, recipe.model_copy(update={"augmentation": augmentation})


def _open(
    dataset: Dataset, device: torch.device, cache: Path, say: Callable[[str], None]
) -> InputSource:
    """Open a source in the way that `loading` requires."""
    if dataset.loading == "streamed":
        from benchmark.data.streamed import open_streamed  # timm takes seconds to import

        return open_streamed(dataset, device, cache, say)

    return open_resident(dataset, device, cache, say)
