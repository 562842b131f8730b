"""What makes tests quick, in their own process and in those that they start.

Run as a module, it is the command line with the networks of tests.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

import tests.support.networks  # noqa: F401
from benchmark.data import dataset, resident
from benchmark.files import write_atomically
from benchmark.study import schema
from benchmark.tracking import experiments
from benchmark.tracking.store import Store, open_store
from benchmark.training import profiling

TIMING = {"LEAST": 1, "SECONDS": 0.0, "WARM_UP_SECONDS": 0.0}
"""Latency is timed over a single pass: at full length, it takes longer than a tiny training."""


def quicken() -> None:
    """Make this process quick, to its end."""
    changes: dict[Any, dict[str, Any]] = {
        profiling: TIMING,
        dataset: {"open_resident": _open_once},
        experiments: {"_create_tables": _create_once},
    }
    for module, values in changes.items():
        for name, value in values.items():
            setattr(module, name, value)


@cache
def _digits(key: str, device: torch.device) -> resident.ResidentSource:
    """Decode the digits, once in a process."""
    digits = schema.Digits.model_validate_json(key)
    return resident.open_resident(digits, device, Path(), print)


def _open_once(
    data: schema.Dataset, device: torch.device, folder: Path, say: Any
) -> resident.ResidentSource:
    if isinstance(data, schema.Digits):
        return _digits(data.model_dump_json(), device)
    return resident.open_resident(data, device, folder, say)


_create = experiments._create_tables


@cache
def template() -> Path:
    """Let MLflow create a database without experiments to copy, once: it takes seconds."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    store = open_store(folder, None)
    assert store.database is not None
    _create(store, store.database)
    return store.database


def _create_once(_: Store, database: Path) -> None:
    write_atomically(database, template().read_bytes())


if __name__ == "__main__":
    from benchmark.cli.main import main

    quicken()
    main()
