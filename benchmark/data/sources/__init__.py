"""Data sets by name. The folder is the registry: each file defines one kind of source.

`digits` comes with scikit-learn and needs no files. `folder/<path>` has one folder per class
under `train` and under `test`, `validation` or `val`. `hfds/<name>` is a Hugging Face data set,
in a local folder or on the hub. `torch/<name>` is one of torchvision's data sets.

To add a kind, add a file that defines one subclass of `SourceKind`. `base.py` and files whose names
start with an underscore contain shared code.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from benchmark.data.sources._own import locate_own
from benchmark.data.sources.base import Located, SourceKind
from benchmark.errors import InputError, suggest
from benchmark.study.schema import Dataset, FileDataset, OwnData


@cache
def kinds() -> dict[str, SourceKind[Any]]:
    """Return every kind of source by its prefix, in the order of the file names.

    Raises:
        TypeError: A file does not define exactly one kind, or two kinds share a prefix.
    """
    files = sorted(module.name for module in pkgutil.iter_modules(__path__))
    by_prefix: dict[str, SourceKind[Any]] = {}
    for file in files:
        if file == "base" or file.startswith("_"):
            continue

        kind = _kind_in(file)
        if kind.prefix in by_prefix:
            raise TypeError(f"{file}.py: another kind has the prefix {kind.prefix!r}")
        by_prefix[kind.prefix] = kind

    return by_prefix


def names() -> list[str]:
    """Return the names of each kind: concrete names, or a pattern such as `hfds/<name>`."""
    return [name for kind in kinds().values() for name in kind.names()]


def locate(dataset: Dataset) -> Located:
    """Find the data set that a study names, without reading it.

    Raises:
        InputError: No file defines this kind of source, the data set's folder is missing, or an
            option does not apply to the data set.
    """
    if isinstance(dataset, OwnData):
        return locate_own(dataset, locate)

    prefix, _, argument = dataset.name.partition("/")
    kind = kinds().get(prefix)
    if kind is None:
        raise InputError(f"dataset: no data set {dataset.name!r}; {suggest(dataset.name, names())}")

    if isinstance(dataset, FileDataset):
        train, test = dataset.train_split, dataset.test_split
        if train is not None and train == test:
            raise InputError(
                f"dataset: train_split and test_split are both {train!r}; "
                "set them to different splits"
            )

    return kind.locate(dataset, argument)


def _kind_in(file: str) -> SourceKind[Any]:
    """Instantiate the kind that a file of this folder defines."""
    module = importlib.import_module(f"{__name__}.{file}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, SourceKind)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(f"{file}.py: must define one subclass of SourceKind, not {len(classes)}")

    kind: SourceKind[Any] = classes[0]()
    return kind
