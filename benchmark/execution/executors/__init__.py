"""Executors by name. This folder is the registry: each public module except `base` defines one."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmark.errors import InputError, suggest
from benchmark.execution.executors.base import (
    CHECKPOINT_MINUTES,
    STEP_MINUTES,
    CellSpec,
    CohortSpec,
    Executor,
    Resources,
)

__all__ = [
    "CHECKPOINT_MINUTES",
    "DEFAULT",
    "STEP_MINUTES",
    "CellSpec",
    "CohortSpec",
    "Executor",
    "Resources",
    "create",
    "names",
]

DEFAULT = "inline"
"""The executor that a session uses unless it is given another one."""

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all executors, sorted, without importing any."""
    files = (path.stem for path in _FOLDER.glob("*.py"))
    return sorted(name for name in files if name != "base" and not name.startswith("_"))


def create(name: str, workers: int | None = None) -> Executor:
    """Create an executor.

    Args:
        name: Name of the executor's file, without the suffix.
        workers: Number of workers; None for the default.

    Raises:
        InputError: There is no such executor, or it has no workers.
        TypeError: The file doesn't contain exactly one executor.
    """
    if name not in names():
        raise InputError(f"executor: no executor {name!r}; {suggest(name, names())}")

    module = importlib.import_module(f"{__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Executor)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(f"{module.__file__}: defines {len(classes)} executors; define exactly one")

    executor: type[Executor] = classes[0]
    if executor.parallel:
        return executor(workers)
    if workers is not None:
        raise InputError(
            f"--workers: the executor {name!r} has no workers; omit it, or use --executor processes"
        )
    return executor()
