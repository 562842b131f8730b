"""Draws the figures of a search: history, importance of the settings, slices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from benchmark.records.layout import SearchFolder
from benchmark.search.row_search import RowSearch
from benchmark.study.schema import Search


def draw_pictures(row_search: RowSearch, folder: SearchFolder, search: Search) -> None:
    """Draw the figures of a search with Optuna, except those that its trials don't allow.

    Args:
        row_search: The search.
        folder: Folder of the study's searches.
        search: The search settings of the study.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as optuna_pictures

    drawings: dict[str, Callable[..., Any]] = {
        "history": optuna_pictures.plot_optimization_history,
        "importance": optuna_pictures.plot_param_importances,
        "slice": optuna_pictures.plot_slice,
    }
    target = folder.figures(row_search.key)
    target.mkdir(parents=True, exist_ok=True)

    for name, draw in drawings.items():
        try:
            with warnings.catch_warnings(action="ignore"):  # Optuna warns about equal importances
                axes = draw(row_search.study, target_name=search.objective)
        except (RuntimeError, ValueError):  # too few trials, or all of them are equal
            continue

        figure = axes.figure if hasattr(axes, "figure") else axes.flat[0].figure
        figure.savefig(target / f"{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close(figure)
