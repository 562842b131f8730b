"""All files of a leaderboard, written from its results.

They are tables for programs (`leaderboard.csv`, `costs.csv`, `summary.json`), pages (Markdown,
HTML, LaTeX) and figures. Every file is a function of the results, byte for byte. Only
`MACHINE_DEPENDENT` files differ between two training runs with equal results.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.files import write_all
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.summary import FILE as SUMMARY
from benchmark.leaderboard.summary import Summary, read_summary, to_json
from benchmark.leaderboard.table import COST_COLUMNS, TEXT_COLUMNS, columns_of, to_frame
from benchmark.report.figures import MAIN, all_figures
from benchmark.report.figures.base import Tables, render
from benchmark.report.html import to_html
from benchmark.report.latex import to_latex
from benchmark.report.markdown import to_markdown
from benchmark.study.plan import Plan

BOARD = "leaderboard.csv"
COSTS = "costs.csv"

PAGE_TITLES = {
    "leaderboard.md": "page",
    "leaderboard.html": "page with sortable tables",
    BOARD: "CSV",
    COSTS: "costs as CSV",
    "leaderboard.tex": "LaTeX",
}
"""Link texts for the files of a leaderboard, except figures."""

MACHINE_DEPENDENT = (
    COSTS,
    "leaderboard.html",
    *(
        f"{figure.name}.{suffix}"
        for figure in all_figures()
        if figure.shows_measured_costs
        for suffix in ("svg", "png")
    ),
)
"""Files with measured costs, which depend on the machine and its load."""


def write(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    folder: Path,
    provenance: Sequence[str] = (),
    histories: pd.DataFrame | None = None,
) -> list[Path]:
    """Write all files, each atomically, and delete figures that no longer apply.

    Args:
        board: The results.
        costs: The measured costs.
        plan: The study's plan.
        folder: Folder of the files; it is created if needed.
        provenance: Where the numbers come from, a line per environment.
        histories: Validation accuracies by epoch, if known; the learning curves need them.

    Returns:
        Paths of the files.

    Raises:
        InputError: A file cannot be written.
    """
    tables = Tables(board, costs, plan, histories)
    figures = {
        kind.name: render(figure)
        for kind in all_figures()
        if (figure := kind.draw(tables)) is not None
    }
    svgs = {name: svg for name, (svg, _) in figures.items()}

    summary = Summary(plan, headline(board, plan), provenance)
    contents = {
        BOARD: to_csv(board).encode(),
        COSTS: to_csv(costs).encode(),
        SUMMARY: to_json(summary).encode(),
    }
    contents |= pages(board, costs, plan, provenance, svgs)
    for name, (svg, png) in figures.items():
        contents |= {f"{name}.svg": svg, f"{name}.png": png}
    written = write_all(folder, contents)

    for kind in all_figures():
        if kind.name not in figures:
            for suffix in ("svg", "png"):
                (folder / f"{kind.name}.{suffix}").unlink(missing_ok=True)
    return written


def pages(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    provenance: Sequence[str],
    figures: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Return the pages by file name.

    Args:
        board: The results.
        costs: The measured costs.
        plan: The study's plan.
        provenance: Where the numbers come from, a line per environment.
        figures: SVG of each figure, by name.
    """
    kinds = [kind for kind in all_figures() if kind.name in figures]
    files = {title: name for name, title in PAGE_TITLES.items()}
    files |= {kind.title: f"{kind.name}.png" for kind in kinds if kind.name != MAIN}
    captioned = {kind.caption(plan): figures[kind.name] for kind in kinds}

    texts = {
        "leaderboard.md": to_markdown(
            board, None, plan, f"{MAIN}.png", provenance, _without(files, "leaderboard.md")
        ),
        "leaderboard.html": to_html(
            board, costs, plan, captioned, provenance, _without(files, "leaderboard.html")
        ),
        "leaderboard.tex": to_latex(board, plan),
    }
    return {name: text.encode() for name, text in texts.items()}


def _without(files: Mapping[str, str], name: str) -> dict[str, str]:
    return {title: file for title, file in files.items() if file != name}


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, Summary]:
    """Read the results that `write` wrote, with their exact numbers.

    Returns:
        The results, the measured costs and the summary.

    Raises:
        InputError: The summary cannot be read.
        OSError: A table cannot be read.
    """
    summary = read_summary(folder / SUMMARY)
    board = _read_csv(folder / BOARD, columns_of(summary.plan))
    costs = _read_csv(folder / COSTS, COST_COLUMNS)
    return board, costs, summary


def _read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    with path.open(encoding="utf-8", newline="") as file:
        lines = [
            {name: _value(name, text) for name, text in line.items()}
            for line in csv.DictReader(file)
        ]
    return to_frame(lines, columns)


def _value(column: str, text: str) -> str | None:
    """Return a value as text; None where a number is missing."""
    return text if text or column in TEXT_COLUMNS else None


def to_csv(table: pd.DataFrame) -> str:
    r"""Return a table as CSV in full precision; missing values are empty, lines end in `\n`."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text
