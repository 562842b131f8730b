"""The style of all figures: font, text sizes, and colours safe for colour-blind readers.

The colours are those of Okabe and Ito.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from benchmark.study.plan import TEACHER, Plan

BLUE = "#0072B2"
GREEN = "#009E73"
VERMILION = "#D55E00"
GREY = "#666666"
DARK = "#222222"
GRID = "#e5e5e5"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "kdbench",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name may contain a dollar sign
}
"""Settings of matplotlib while a figure is drawn or saved, beside its defaults."""

SMALL = 8
"""Size of most text, in points."""

PANEL_TITLE = 9
FIGURE_TITLE = 11

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Layout:
    """Sizes and texts of a figure.

    Attributes:
        width: Width in inches.
        height: Height in inches.
        columns: Number of panels side by side.
        title: Title of the figure, wrapped to fit.
        titles: Titles of the pairs, wrapped to fit their panels.
        key_columns: Number of legend entries side by side.
    """

    width: float
    height: float
    columns: int
    title: str
    titles: Sequence[str]
    key_columns: int = 1

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return self.width, self.height


def style() -> AbstractContextManager[None]:
    """Return a context with the settings of kdbench's figures.

    All other settings have matplotlib's defaults, so that neither a user's `matplotlibrc` nor a
    library that changes them, as Optuna does, changes a figure.
    """
    return matplotlib.style.context(["default", STYLE])


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a drawing function to use `style()` and restore matplotlib's settings afterwards."""

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with style():
            return draw(*args, **kwargs)

    return wrapper


def colour_of(method: str, plan: Plan) -> str:
    """Return the colour of a row: teacher, student alone (tuned or not), or any other method."""
    if method == TEACHER:
        return VERMILION
    return GREEN if method in plan.alone else BLUE


def panel_grid(figure: Figure, columns: int, count: int) -> Sequence[Axes]:
    """Add panels to a figure, row by row.

    Args:
        figure: The figure.
        columns: Number of panels side by side.
        count: Number of panels; the last row may have fewer than `columns`.
    """
    rows = -(-count // columns)
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel in panels[count:]:
        panel.remove()
    return panels[:count]


def tidy(
    panel: Axes,
    spines: Sequence[str] = ("bottom", "left"),
    grid: Literal["x", "y", "both"] | None = "both",
) -> None:
    """Apply the common style to a panel: tick labels, spines and grid.

    Args:
        panel: The panel.
        spines: Sides whose spines stay visible.
        grid: Axis whose ticks have grid lines: `x`, `y` or `both`; none if None.
    """
    panel.tick_params(axis="both", which="both", labelsize=SMALL)
    for side, spine in panel.spines.items():
        spine.set_visible(side in spines)
    if grid is not None:
        panel.grid(axis=grid, color=GRID, linewidth=0.6)
        panel.set_axisbelow(True)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return the width of a line of text in inches."""
    font = FontProperties(family=STYLE["font.family"], size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap_text(text: str, inches: float, size: float = SMALL, weight: str = "normal") -> str:
    """Return text broken into lines that are no wider than `inches`."""
    for letters in range(len(text), 1, -1):
        lines = textwrap.wrap(text, letters)
        if all(text_width(line, size, weight) <= inches for line in lines):
            return "\n".join(lines)
    return text


def wrap_title(text: str, inches: float) -> str:
    """Return the title of a figure, broken into lines that fit its width."""
    return wrap_text(text, inches - 0.2, FIGURE_TITLE, "bold")


def extra_height(text: str, size: float = SMALL) -> float:
    """Return the height in inches of all lines of a text but the first."""
    return text.count("\n") * 1.25 * size / 72


def add_title(figure: Figure, text: str, **position: Any) -> None:
    """Put the title of a figure above its panels."""
    figure.suptitle(text, fontsize=FIGURE_TITLE, fontweight="bold", **position)
