"""Pictures of a search: history, importance, slices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.search.hunt import Hunt
from benchmark.study.schema import Search


def draw(hunt: Hunt, folder: Path, search: Search) -> None:
    """History, importance and slices of a search as pictures; those that too few trials allow are left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as pictures

    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[], Any]] = {
        "history": lambda: pictures.plot_optimization_history(
            hunt.study, target_name=search.objective
        ),
        "importance": lambda: pictures.plot_param_importances(
            hunt.study, target_name=search.objective
        ),
        "slice": lambda: pictures.plot_slice(hunt.study, target_name=search.objective),
    }
    for name, draw in drawings.items():
        try:
            with warnings.catch_warnings(action="ignore"):  # of importances that are all equal
                drawn = draw()
        except (RuntimeError, ValueError):  # Optuna has too few trials for it, or all are alike
            continue
        figure = drawn.figure if hasattr(drawn, "figure") else drawn.flat[0].figure
        figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close(figure)
