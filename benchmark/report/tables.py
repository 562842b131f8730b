"""The results as tables of text, before they become Markdown, HTML, LaTeX or terminal output."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.leaderboard.footnotes import GUIDE
from benchmark.report.columns import (
    COMPUTED,
    DIAGNOSTICS,
    MEASURED,
    METHOD,
    NONE,
    OVER_PAIRS,
    PAGE,
    PAIR,
    Column,
    Line,
    with_own,
)
from benchmark.study.plan import TEACHER, Plan

NOTE_WIDTH = 240
"""Maximum length of a note on a page, in characters; the CSV contains the full note."""

NAME_WIDTH = 22
"""Maximum length of a name that never wraps, in characters; longer names may wrap."""

OVER_PAIRS_TITLE = "Mean rank over pairs"
COMPUTED_TITLE = "Computed costs"
MEASURED_TITLE = "Measured costs"
MEASURED_NOTE = "Medians over the seeds. They depend on the machine and its load."
NOTHING_MEASURED = "Nothing was measured."

OMITTED = "columns omitted (too narrow)"
"""Text that introduces the list of columns that a narrow table omits."""

GUIDE_ADDRESS = f"../../{GUIDE}"
"""The guide to leaderboards, relative to the folder of a study in `results/`."""


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        title: Heading above the table.
        columns: Its columns.
        lines: The results behind its rows.
        cells: One text per row and column; `NONE` where there is nothing to show.
        notes: Remarks on rows.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Headers of the columns."""
        return tuple(column.title for column in self.columns)

    def rows(self) -> Iterator[tuple[Line, list[tuple[Column, str]]]]:
        """Yield each line with its cells, each beside its column."""
        for line, cells in zip(self.lines, self.cells, strict=True):
            yield line, list(zip(self.columns, cells, strict=True))


def text_table(
    title: str, columns: Iterable[Column], lines: Sequence[Line], notes: Sequence[str] = ()
) -> TextTable:
    """Return the table of these columns and lines."""
    columns = tuple(columns)
    cells = tuple(tuple(column.cell(line) or NONE for column in columns) for line in lines)
    return TextTable(title, columns, tuple(lines), cells, tuple(notes))


def pair_tables(board: pd.DataFrame, plan: Plan) -> list[TextTable]:
    """Return the table of each pair, with all columns that a page shows."""
    return [
        text_table(
            pair_title(pair, plan), used(with_own(PAGE, plan), lines), lines, row_notes(lines)
        )
        for pair, lines in lines_by_pair(board, plan)
    ]


def rank_tables(board: pd.DataFrame, plan: Plan) -> list[TextTable]:
    """Return the table of mean ranks over pairs, or nothing if no row has a mean rank."""
    lines = lines_over_pairs(board, plan)
    return [text_table(OVER_PAIRS_TITLE, used(OVER_PAIRS, lines), lines)] if lines else []


def computed_costs(board: pd.DataFrame, plan: Plan) -> TextTable:
    """Return the computed costs of all pairs, with the diagnostics beside them."""
    return _cost_table(COMPUTED_TITLE, board, plan, (*COMPUTED, *DIAGNOSTICS))


def measured_costs(costs: pd.DataFrame, plan: Plan) -> TextTable:
    """Return the measured costs of all pairs."""
    return _cost_table(MEASURED_TITLE, costs, plan, MEASURED)


def _cost_table(
    title: str, results: pd.DataFrame, plan: Plan, columns: Sequence[Column]
) -> TextTable:
    by_pair = cost_lines(results, plan, columns)
    lines = [line for lines_of_pair in by_pair for line in lines_of_pair]
    return text_table(title, [PAIR, *used([METHOD, *columns], lines)], lines)


def cost_lines(results: pd.DataFrame, plan: Plan, columns: Sequence[Column]) -> list[list[Line]]:
    """Return the lines of each pair that have a cost: the teacher, then the methods in plan order.

    Args:
        results: Lines by pair and method.
        plan: The study's plan.
        columns: The costs.
    """
    order = {name: position for position, name in enumerate((TEACHER, *plan.methods))}

    by_pair = []
    for _, lines in lines_by_pair(results, plan):
        with_cost = [line for line in lines if used(columns, [line])]
        by_pair.append(sorted(with_cost, key=lambda line: order[line["method"]]))
    return by_pair


def used(columns: Iterable[Column], lines: Sequence[Line]) -> list[Column]:
    """Return the columns in which any line has a value."""
    return [column for column in columns if any(column.cell(line) for line in lines)]


def lines_by_pair(results: pd.DataFrame, plan: Plan) -> list[tuple[str, list[Line]]]:
    """Return the lines of each pair: pairs in plan order, lines in the order of the results."""
    lines: list[Line] = [*results.to_dict("records")]
    return [(pair, [line for line in lines if line["pair"] == pair]) for pair in plan.pairs]


def lines_over_pairs(board: pd.DataFrame, plan: Plan) -> list[Line]:
    """Return a line per method with a mean rank: untuned rows, then tuned ones, best first."""
    lines: list[Line] = [*board[board["pair"] == plan.pairs[0]].to_dict("records")]
    ranked = [line for line in lines if math.isfinite(line["mean_rank"])]

    def order(line: Line) -> tuple[int, float, int]:
        return line["trials"], line["mean_rank"], plan.methods.index(line["method"])

    return sorted(ranked, key=order)


def pair_title(pair: str, plan: Plan) -> str:
    """Return the heading above the table of a pair."""
    dataset = plan.datasets.get(pair)
    return f"{pair}, {dataset}" if dataset else pair


def row_notes(lines: Sequence[Line]) -> list[str]:
    """Return each distinct note once, after the names of its rows."""
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line["note"]:
            rows.setdefault(line["note"], []).append(str(line["method"]))

    return [
        f"{', '.join(names)}: {textwrap.shorten(note, NOTE_WIDTH)}" for note, names in rows.items()
    ]


def is_best(line: Line) -> bool:
    """Return whether the row has rank 1: no ranked row with an equal budget has a higher mean."""
    return not pd.isna(line["rank"]) and bool(line["rank"] == 1)


def is_bold(column: Column, line: Line) -> bool:
    """Return whether a cell is printed in bold: the accuracy of the best row."""
    return column.name == "acc1" and is_best(line)
