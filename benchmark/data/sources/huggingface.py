"""Data sets of the Hugging Face hub, or of a copy in a folder."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from benchmark.data.sources.base import Located, Part, Source, splits
from benchmark.data.sources.folders import local, signature
from benchmark.errors import InputError, first_line
from benchmark.study.schema import HuggingFace


class _HuggingFace(Part):
    """A part of a Hugging Face data set, read by timm."""

    def __init__(self, title: str, reader: Any, labels: Tensor):
        self.name, self.reader, self.labels = title, reader, labels

    def where(self, place: int) -> str:
        return f"{self.name}: image {place}"

    def read(self, place: int) -> IO[bytes]:
        with self.reader[place][0] as found:
            return io.BytesIO(found.read())


def hugging_face(dataset: HuggingFace, name: str) -> Located:
    """The data set that `hfds/<name>` means: a folder, or one of the hub."""
    folder = local(dataset, name)
    if folder is None:
        root = str(Path(dataset.root).resolve())
        return Located(root, lambda _: _hugging_face_parts(dataset, name, root))
    return Located(
        signature(folder),
        lambda scratch: _hugging_face_parts(dataset, str(folder), str(scratch), folder),
    )


def _hugging_face_parts(
    dataset: HuggingFace, name: str, cache: str, folder: Path | None = None
) -> Source:
    if importlib.util.find_spec("datasets") is None:
        raise InputError(
            f"dataset: {dataset.name} needs the package 'datasets': pip install 'kdbench[hf]'"
        )
    readers = []
    with _quiet(progress=folder is None):
        for names in splits(dataset):
            readers.append(_reader(dataset, name, cache, names, folder))
    classes, parts = len(readers[0].class_to_idx), []
    for reader in readers:
        title = f"{name}: {reader.split}"
        values = reader.dataset[reader.label_key][:]
        if not classes and all(isinstance(value, int) for value in values):
            classes = 1 + max(values)
        parts.append(
            _HuggingFace(
                title, reader, labels_of(values, classes, f"{title}: column {reader.label_key!r}")
            )
        )
    if readers[0].class_to_idx != readers[1].class_to_idx:
        raise InputError(
            f"dataset: {name}: {readers[0].split} and {readers[1].split} have different classes"
        )
    return Source(parts[0], parts[1], classes)


def _reader(
    dataset: HuggingFace, name: str, cache: str, splits: tuple[str, ...], folder: Path | None
) -> Any:
    """The reader by timm of the first of some splits that there is, after its columns were checked."""
    from timm.data.dataset_factory import create_dataset

    images, labels = dataset.input_key or "image", dataset.target_key or "label"
    error: Exception | None = None
    for split in splits:
        try:
            reader = create_dataset(
                f"hfds/{name}", root=cache, split=split, input_key=images, target_key=labels
            ).reader
        except Exception as raised:  # whatever the library raises, the data set is what is wrong
            error = raised
            if "Unknown split" in str(raised):
                continue
            break
        if not len(reader):
            raise InputError(f"dataset: {dataset.name}: {split} has no images")
        table = reader.dataset.data
        # timm's cast to images makes a column up, of nulls, where there is none.
        columns = [
            name
            for name in table.column_names
            if name != images or table.column(name).null_count < len(reader)
        ]
        for key, column in (("input_key", images), ("target_key", labels)):
            if column not in columns:
                known = ", ".join(columns)
                raise InputError(
                    f"dataset: {dataset.name} has no column {column!r}; set {key} to one of {known}"
                )
        return reader
    assert error is not None
    if "Unknown split" in str(error):
        raise InputError(
            f"dataset: {dataset.name}: {first_line(error)}; set train_split and test_split"
        ) from error
    if "cast" in str(error):
        raise InputError(
            f"dataset: {dataset.name}: column {images!r} holds no images; set input_key"
        ) from error
    if folder is None:
        looked = f"neither {Path(dataset.root, name)} nor {name} is a folder, and the Hugging Face hub does not give it"
        raise InputError(f"dataset: {dataset.name}: {looked} ({first_line(error)})") from error
    raise InputError(
        f"dataset: {folder} cannot be read ({first_line(error)}); restore or replace it"
    ) from error


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """The `datasets` library logs nothing inside, for its errors become one line; downloads show their progress."""
    import datasets  # type: ignore[import-untyped]

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels, shown = [logger.level for logger in loggers], datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    if not progress:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not shown:
            datasets.enable_progress_bars()


def labels_of(values: list[Any], classes: int, where: str) -> Tensor:
    """Labels as int64 [N]. Raises InputError if one of them is no class."""
    wrong = next(
        (value for value in values if not isinstance(value, int) or not 0 <= value < classes), None
    )
    if wrong is not None:
        hint = "labels are whole numbers from 0; set target_key, or a test_split whose labels are public"
        raise InputError(f"dataset: {where} holds {wrong!r}; {hint}")
    return torch.tensor(values, dtype=torch.int64)
