"""The data that a figure's module receives, and the description that it defines."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.style import style
from benchmark.study.plan import Plan


@dataclass(frozen=True)
class Tables:
    """The data that figures are drawn from.

    Attributes:
        board: The results, a line per pair and method.
        costs: The costs of the same lines.
        plan: The study's plan.
        histories: Validation accuracies with the columns `pair`, `method`, `seed`, `step` and
            `value`; None if they are not known.
    """

    board: pd.DataFrame
    costs: pd.DataFrame
    plan: Plan
    histories: pd.DataFrame | None = None


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure. Every module in this folder that draws one defines it as `FIGURE`.

    Attributes:
        name: Stem of the figure's files.
        title: Text of links to the figure.
        caption: Returns a one-sentence caption for a study.
        draw: Draws the figure; returns None if the study has no data for it.
        shows_measured_costs: Whether it shows times or memory, which differ between identical
            training runs.
    """

    name: str
    title: str
    caption: Callable[[Plan], str]
    draw: Callable[[Tables], Figure | None]
    shows_measured_costs: bool = False


def render(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as SVG and as PNG, byte-identical every time."""
    svg, png = io.BytesIO(), io.BytesIO()
    with style():
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()
