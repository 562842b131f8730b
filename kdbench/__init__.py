"""kdbench for Python programs and notebooks.

    import kdbench

    study = kdbench.load_study("study.yaml")
    kdbench.run(study)
    print(kdbench.leaderboard(study))

The package re-exports the functions of `benchmark.api`, and contains `kdbench.methods`, the
distillation methods as a library, and `kdbench.plugins`, the decorators for plug-ins. It works in
projects that have packages of their own called `benchmark` or `methods`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kdbench import _names

if TYPE_CHECKING:
    from benchmark import __version__, plugins
    from benchmark.api import (
        LoadedStudy,
        leaderboard,
        load_student,
        load_study,
        run,
        runs,
        tune,
    )
    from benchmark.errors import InputError, TrackingError
    from kdbench import methods

__all__ = [
    "InputError",
    "LoadedStudy",
    "TrackingError",
    "__version__",
    "leaderboard",
    "load_student",
    "load_study",
    "methods",
    "plugins",
    "run",
    "runs",
    "tune",
]

_SOURCES = {
    "InputError": "errors",
    "TrackingError": "errors",
    "LoadedStudy": "api",
    "leaderboard": "api",
    "load_student": "api",
    "load_study": "api",
    "run": "api",
    "runs": "api",
    "tune": "api",
}
"""The module of `benchmark` that each name comes from."""

_names.install()


def __getattr__(name: str) -> Any:
    """Import what is used, when it is first used: PyTorch takes seconds to import."""
    if name in ("methods", "plugins"):
        return importlib.import_module(f"kdbench.{name}")
    if name == "__version__":
        return importlib.import_module("kdbench.benchmark").__version__
    if name in _SOURCES:
        return getattr(importlib.import_module(f"kdbench.benchmark.{_SOURCES[name]}"), name)
    raise AttributeError(f"module 'kdbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, for completion in notebooks."""
    return __all__
