"""The names of classes as each file of a Hugging Face data set gives them.

The `datasets` library takes the names from the first file and gives them to all others. Files that
name the same classes in another order would be read with wrong labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import InputError

_SPLIT = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
"""The name of a split at the beginning of an expression such as `train[:50%]`."""


def class_names(table: Any, column: str) -> tuple[str, ...]:
    """Return the names of the classes of a column; empty if they have none."""
    return tuple(getattr(table.features[column], "names", ()))


def stored_names(
    folder: str, config: str | None, splits: Sequence[str], column: str
) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of each split, in the order of its own files.

    Splits whose files name no classes are left out.

    Args:
        folder: The folder of the data set.
        config: Name of its configuration, if it has several.
        splits: The splits as the study names them.
        column: Name of the column of labels.

    Raises:
        InputError: Two files of a split name different classes, or the same in another order.
    """
    import datasets

    files = datasets.load_dataset_builder(folder, config).config.data_files or {}
    found: dict[str, tuple[str, ...]] = {}
    for split in splits:
        first: tuple[Path, tuple[str, ...]] | None = None
        for path in _files_of(split, files):
            names = _names_in(path, column)
            if not names:
                continue

            first = first or (path, names)
            if names != first[1]:
                raise InputError(
                    f"dataset: {first[0]} and {path} name the classes of column {column!r} "
                    "differently; write both with the same names in the same order"
                )
        if first is not None:
            found[split] = first[1]
    return found


def _files_of(split: str, files: Any) -> Iterator[Path]:
    """Yield the files that an expression such as `train[:50%]+extra` takes images from."""
    for part in split.split("+"):
        match = _SPLIT.match(part.strip())
        name = "" if match is None else match.group()
        yield from (Path(str(path)) for path in files.get(name, ()))


def _names_in(path: Path, column: str) -> tuple[str, ...]:
    """Return the names of the classes that a file of columns stores; empty if it stores none."""
    try:
        metadata = _schema(path).metadata or {}
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(features[column]["names"])
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def _schema(path: Path) -> Any:
    """Return the schema of a Parquet or Arrow file.

    Raises:
        ValueError: The file has another format.
    """
    import pyarrow
    import pyarrow.parquet

    if path.suffix == ".parquet":
        return pyarrow.parquet.read_schema(path)
    if path.suffix == ".arrow":
        with pyarrow.memory_map(str(path)) as file:
            try:
                return pyarrow.ipc.open_stream(file).schema
            except pyarrow.ArrowInvalid:  # Arrow has a second format, for files
                return pyarrow.ipc.open_file(file).schema
    raise ValueError(path.suffix)
