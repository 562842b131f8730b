"""Data sets from the Hugging Face hub, or local copies of them."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from benchmark.data.sources._columns import column_problems
from benchmark.data.sources._files import find_folder, signature
from benchmark.data.sources.base import (
    Located,
    Part,
    Source,
    SourceKind,
    class_labels,
    split_names,
)
from benchmark.errors import InputError, first_line
from benchmark.study import schema


class HuggingFace(SourceKind[schema.HuggingFace]):
    """`hfds/<name>`: a folder or a data set on the hub, read through timm."""

    prefix = "hfds"
    argument = "<name>"

    def locate(self, dataset: schema.HuggingFace, argument: str) -> Located:
        """Look for a folder with this name. If there is none, take the data set from the hub."""
        folder = find_folder(dataset, argument)
        if folder is None:
            root = str(Path(dataset.root).resolve())
            return Located(root, lambda _: _Opener(dataset, argument, root).load())

        path = str(folder)
        return Located(
            signature(folder),
            lambda scratch: _Opener(dataset, path, str(scratch), folder).load(),
        )


class _Images(Part):
    """Images in a column, read by timm."""

    def __init__(self, name: str, reader: Any, labels: Tensor):
        self.name = name
        self.reader = reader
        self.labels = labels

    def where(self, index: int) -> str:
        return f"{self.name}: image {index}"

    def read(self, index: int) -> IO[bytes]:
        with self.reader[index][0] as file:
            return io.BytesIO(file.read())


@dataclass(frozen=True)
class _Opener:
    """Opens both parts of a data set.

    Attributes:
        dataset: The data set's section of the study.
        name: The name for the `datasets` library: a name on the hub, or the path of a folder.
        cache: The folder to which the library writes its files.
        folder: The folder that contains the data set; None if it comes from the hub.
    """

    dataset: schema.HuggingFace
    name: str
    cache: str
    folder: Path | None = None

    @property
    def input_key(self) -> str:
        """Name of the column of images."""
        return self.dataset.input_key or "image"

    @property
    def target_key(self) -> str:
        """Name of the column of labels."""
        return self.dataset.target_key or "label"

    def load(self) -> Source:
        """Open both parts and check that they have the same classes."""
        if importlib.util.find_spec("datasets") is None:
            raise InputError(
                f"dataset: {self.dataset.name} needs the package datasets; run "
                "`pip install datasets`"
            )

        with _quiet_library(show_progress=self.folder is None):
            train, test = (self._reader(split) for split in self._checked_splits())

        classes = len(train.class_to_idx) or _count_classes(train)
        problems = []
        if train.class_to_idx != test.class_to_idx:
            problems.append(
                f"dataset: {self.name}: {train.split} and {test.split} have different classes; "
                "choose other splits, or another target_key"
            )

        parts: list[Part] = []
        for reader in (train, test):
            try:
                parts.append(self._part(reader, classes))
            except InputError as error:
                problems.append(str(error))
        if problems:
            raise InputError(*problems)
        train_part, test_part = parts
        return Source(train_part, test_part, classes)

    def _part(self, reader: Any, classes: int) -> Part:
        title = f"{self.name}: {reader.split}"
        column = f"{title}: column {reader.label_key!r}"
        return _Images(title, reader, class_labels(_label_column(reader), classes, column))

    def _checked_splits(self) -> list[str]:
        """Return the names of the training and the test split, after checking their columns.

        Raises:
            InputError: A split or a column is missing or has the wrong type. The message has a line
                for every problem.
        """
        splits: list[str] = []
        problems: list[str] = []
        for key, names in zip(
            ("train_split", "test_split"), split_names(self.dataset), strict=True
        ):
            try:
                split, table = self._first_table(names)
            except Exception as error:  # the library raises errors of many kinds
                if "Unknown split" not in str(error):
                    raise self._refusal(error) from error
                problems.append(f"dataset: {self.dataset.name}: {first_line(error)}; set {key}")
                continue

            splits.append(split)
            if not len(table):
                problems.append(f"dataset: {self.dataset.name}: the split {split!r} has no images")
            name = self.dataset.name
            problems += column_problems(name, table.features, self.input_key, self.target_key)

        if problems:
            raise InputError(*dict.fromkeys(problems))
        return splits

    def _first_table(self, splits: tuple[str, ...]) -> tuple[str, Any]:
        """Return the name and the table of the first split that exists."""
        import datasets

        *others, last = splits
        for split in others:
            try:
                return split, datasets.load_dataset(self.name, split=split, cache_dir=self.cache)
            except ValueError as error:
                if "Unknown split" not in str(error):
                    raise
        return last, datasets.load_dataset(self.name, split=last, cache_dir=self.cache)

    def _reader(self, split: str) -> Any:
        from timm.data.dataset_factory import create_dataset

        try:
            dataset = create_dataset(
                f"hfds/{self.name}",
                root=self.cache,
                split=split,
                input_key=self.input_key,
                target_key=self.target_key,
            )
        except Exception as error:  # the library raises errors of many kinds
            raise self._refusal(error) from error
        return dataset.reader

    def _refusal(self, error: Exception) -> InputError:
        """Explain why a split could not be opened."""
        name = self.dataset.name
        reason = first_line(error)
        if "cast" in str(error):
            return InputError(
                f"dataset: {name}: column {self.input_key!r} contains no images; set input_key"
            )

        if self.folder is None:
            below_root = Path(self.dataset.root, self.name)
            return InputError(
                f"dataset: {name}: neither {below_root} nor {self.name} is a folder, "
                f"and the Hugging Face hub does not provide it ({reason})"
            )

        return InputError(
            f"dataset: {self.folder} cannot be read ({reason}); restore or replace it"
        )


def _label_column(reader: Any) -> list[Any]:
    values: list[Any] = reader.dataset[reader.label_key][:]
    return values


def _count_classes(reader: Any) -> int:
    """Count the classes in a column of plain integers; return 0 for any other column."""
    values = _label_column(reader)
    if not all(isinstance(value, int) for value in values):
        return 0

    highest: int = max(values)
    return 1 + highest


@contextmanager
def _quiet_library(show_progress: bool) -> Iterator[None]:
    """Silence the log of the `datasets` library, whose errors are reported in one line."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    had_progress = not datasets.are_progress_bars_disabled()

    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    if not show_progress:
        datasets.disable_progress_bars()

    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_progress:
            datasets.enable_progress_bars()
