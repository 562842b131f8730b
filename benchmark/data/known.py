"""What is known of a data set without decoding it."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.data import cache
from benchmark.data.cache import DamagedError, Facts
from benchmark.data.resident import open_resident
from benchmark.data.sources import locate
from benchmark.errors import InputError
from benchmark.study.schema import Dataset


def known_facts(dataset: Dataset, folder: Path) -> Facts | None:
    """Return the facts of a data set if an earlier command stored them.

    Data sets that are quick to read are not stored; they are read.

    Args:
        dataset: The data set.
        folder: Folder of decoded data sets.

    Returns:
        The facts; None if the data set has not been read yet, has changed since, or is missing.
    """
    try:
        located = locate(dataset)
    except InputError:
        return None

    if located.signature is None:
        return open_resident(dataset, torch.device("cpu"), folder, lambda _: None).facts

    try:
        return cache.read_card(folder / cache.key(dataset, located))
    except DamagedError:
        return None
