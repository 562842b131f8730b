"""Data sets from the Hugging Face hub, or local copies of them."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from benchmark.data.sources._columns import column_problems
from benchmark.data.sources._configurations import configuration_problem
from benchmark.data.sources._files import READING_RULES, find_folder, signature
from benchmark.data.sources._labels import RawLabels, assign_classes
from benchmark.data.sources._stored_classes import class_names, stored_names
from benchmark.data.sources.base import Located, Part, Source, SourceKind, split_names
from benchmark.errors import InputError, first_line
from benchmark.study import schema


class HuggingFace(SourceKind[schema.HuggingFace]):
    """`hfds/<name>`: a folder or a data set on the hub, read by the `datasets` library."""

    prefix = "hfds"
    argument = "<name>"

    def locate(self, dataset: schema.HuggingFace, argument: str) -> Located:
        """Look for a folder with this name. If there is none, take the data set from the hub."""
        folder = find_folder(dataset, argument)
        if folder is None:
            root = str(Path(dataset.root).resolve())
            signature_of_hub = [root, READING_RULES]
            return Located(signature_of_hub, lambda _: _Opener(dataset, argument, root).load())

        path = str(folder)
        return Located(
            signature(folder),
            lambda scratch: _Opener(dataset, path, str(scratch), folder).load(),
        )


class _Images(Part):
    """Images in a column of a table.

    Args:
        name: Name of the part, for messages.
        table: The table, whose images are not decoded.
        column: Name of the column of images.
        labels: The label of each image.
    """

    def __init__(self, name: str, table: Any, column: str, labels: Tensor):
        self.name = name
        self.images = table.select_columns(column)
        self.column = column
        self.labels = labels

    def where(self, index: int) -> str:
        return f"{self.name}: image {index}"

    def read(self, index: int) -> IO[bytes] | Path:
        image = self.images[index][self.column]
        if image is None:
            raise ValueError("it is null")
        return io.BytesIO(image["bytes"]) if image["bytes"] else Path(image["path"])


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
        """Open both parts, and give their labels the same classes."""
        if importlib.util.find_spec("datasets") is None:
            raise InputError(
                f"dataset: {self.dataset.name} needs the package datasets; run "
                "`pip install datasets`"
            )

        with _quiet_library(show_progress=self.folder is None):
            splits = self._checked_splits()
            labels = assign_classes(*self._raw_labels(splits))
            train, test = (
                self._part(split, table, values)
                for (split, table), values in zip(
                    splits.items(), (labels.train, labels.test), strict=True
                )
            )
        return Source(train, test, labels.classes, labels.names, labels.remarks)

    def _part(self, split: str, table: Any, labels: Tensor) -> Part:
        import datasets

        try:
            undecoded = table.cast_column(self.input_key, datasets.Image(decode=False))
        except Exception as error:  # the library raises errors of many kinds
            raise self._refusal(error) from error
        return _Images(f"{self.name}: {split}", undecoded, self.input_key, labels)

    def _raw_labels(self, splits: Mapping[str, Any]) -> list[RawLabels]:
        """Return the labels of each split, with the names that its own files give the classes."""
        names = {split: class_names(table, self.target_key) for split, table in splits.items()}
        if self.folder is not None and any(names.values()):
            names |= stored_names(self.name, self.dataset.config, list(splits), self.target_key)

        return [
            RawLabels(
                values=table[self.target_key][:],
                where=f"{self.name}: {split}: column {self.target_key!r}",
                names=names[split],
                remedy="set target_key, or a test_split whose labels are public",
            )
            for split, table in splits.items()
        ]

    def _checked_splits(self) -> dict[str, Any]:
        """Return the tables of the training and the test split, after checking their columns.

        Raises:
            InputError: A split or a column is missing or has the wrong type. The message has a line
                for every problem.
        """
        tables: dict[str, Any] = {}
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

            tables[split] = table
            if not len(table):
                problems.append(f"dataset: {self.dataset.name}: the split {split!r} has no images")
            name = self.dataset.name
            problems += column_problems(name, table.features, self.input_key, self.target_key)

        if problems:
            raise InputError(*dict.fromkeys(problems))
        return tables

    def _first_table(self, splits: tuple[str, ...]) -> tuple[str, Any]:
        """Return the name and the table of the first split that exists."""
        *others, last = splits
        for split in others:
            try:
                return split, self._table(split)
            except ValueError as error:
                if "Unknown split" not in str(error):
                    raise
        return last, self._table(last)

    def _table(self, split: str) -> Any:
        import datasets

        return datasets.load_dataset(
            self.name, self.dataset.config, split=split, cache_dir=self.cache
        )

    def _refusal(self, error: Exception) -> InputError:
        """Explain why a split could not be opened."""
        name = self.dataset.name
        if problem := configuration_problem(str(error), self.dataset.config):
            return InputError(f"dataset: {name} {problem}")

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
