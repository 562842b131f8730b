"""The figures of a leaderboard, one per file: to add a figure, add a file here.

A figure's file defines `FIGURE`. The other files contain code that several figures share.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from benchmark.report.figures.base import FigureKind

MAIN = "leaderboard"
"""Name of the figure above the tables."""


@cache
def all_figures() -> tuple[FigureKind, ...]:
    """Return the figures of this folder: the main one, then the others by name."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    figures = [module.FIGURE for module in modules if hasattr(module, "FIGURE")]
    return tuple(sorted(figures, key=lambda figure: (figure.name != MAIN, figure.name)))
