"""The files of a leaderboard that hold its results: tables for programs, the page and the main picture.

They are a function of the results alone, byte for byte; numbers that a clock measured go to `costs.csv` and nowhere
else.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from benchmark.files import write_all
from benchmark.report.figures.accuracies import figure
from benchmark.report.figures.style import STYLE
from benchmark.report.markdown import to_markdown
from benchmark.study.plan import Plan


def to_csv(board: pd.DataFrame) -> str:
    r"""The table in full precision: shortest exact floats, empty for missing values, lines end in `\n`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(board.columns)
    for line in board.itertuples(index=False, name=None):
        writer.writerow(_exact(value) for value in line)
    return text.getvalue()


def _exact(value: Any) -> str:
    if pd.isna(value):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def write(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    folder: Path,
    provenance: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes `leaderboard.csv`, `.md`, `.svg` and `.png`, and `costs.csv`; each file is replaced as a whole.

    All but `costs.csv` are equal byte for byte between two trainings with equal results and `provenance`.
    """
    svg, png = rendered(figure(board, plan))
    contents = {
        "leaderboard.csv": to_csv(board).encode(),
        "costs.csv": to_csv(costs).encode(),
        "leaderboard.md": to_markdown(
            board, None, plan, "leaderboard.png", provenance, links
        ).encode(),
        "leaderboard.svg": svg,
        "leaderboard.png": png,
    }
    return write_all(folder, contents)


def rendered(drawn: Figure) -> tuple[bytes, bytes]:
    """A figure as SVG and as PNG, the same bytes every time."""
    with matplotlib.rc_context(STYLE):
        svg, png = io.BytesIO(), io.BytesIO()
        drawn.savefig(svg, format="svg", metadata={"Date": None})
        drawn.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()
