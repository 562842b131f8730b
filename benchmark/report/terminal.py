"""Prints results in the terminal: sentences, and tables that fit its width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard.footnotes import GUIDE, footnotes
from benchmark.leaderboard.headline import headline
from benchmark.report.columns import (
    ALWAYS,
    COMPUTED,
    MEASURED,
    METHOD,
    NONE,
    OVER_PAIRS,
    TERMINAL,
    Column,
    Line,
    with_own,
)
from benchmark.report.tables import (
    COMPUTED_TITLE,
    MEASURED_NOTE,
    MEASURED_TITLE,
    NAME_WIDTH,
    OMITTED,
    OVER_PAIRS_TITLE,
    cost_lines,
    is_bold,
    lines_by_pair,
    lines_over_pairs,
    pair_title,
    row_notes,
    used,
)
from benchmark.study.plan import Plan

PLAIN_WIDTH = 120
"""Minimum width, in characters, if the output is a file or a pipe rather than a terminal."""

_RULES_ONLY = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
"""No frame; one rule below the header and one after each section."""


def to_console(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    """Print the headline, a table per pair, the costs and the footnotes.

    Columns that don't fit are omitted, least important first, and listed below the table.

    Args:
        board: The results.
        costs: The measured costs.
        plan: The study's plan.
        console: Where to print.
    """
    width = console.width
    if not console.is_terminal:
        # A file or a pipe has no width limit, but rich would wrap the tables at 80 columns.
        console.width = max(width, PLAIN_WIDTH)

    try:
        _print_results(board, plan, console)
        _print_costs(COMPUTED_TITLE, board, plan, COMPUTED, [], console)
        _print_costs(MEASURED_TITLE, costs, plan, MEASURED, [MEASURED_NOTE], console)
        console.print()
        _print_notes(
            [*footnotes(board, plan), f"Every column is explained in {GUIDE}."], "dim", console
        )
    finally:
        console.width = width


def _print_results(board: pd.DataFrame, plan: Plan, console: Console) -> None:
    console.print(Text(headline(board, plan)))

    for pair, lines in lines_by_pair(board, plan):
        teacher, methods = lines[:1], lines[1:]
        columns = with_own(TERMINAL, plan)
        _print_table(pair_title(pair, plan), columns, [teacher, methods], console)
        _print_notes(row_notes(lines), "yellow", console)

    if ranked := lines_over_pairs(board, plan):
        _print_table(OVER_PAIRS_TITLE, OVER_PAIRS, [ranked], console)


def _print_costs(
    title: str,
    results: pd.DataFrame,
    plan: Plan,
    costs: Sequence[Column],
    notes: Sequence[str],
    console: Console,
) -> None:
    sections = [lines for lines in cost_lines(results, plan, costs) if lines]
    if not sections:
        return

    columns = [METHOD, *costs]
    if len(plan.pairs) > 1:
        columns.insert(0, _pair_column([lines[0] for lines in sections]))
    _print_table(title, columns, sections, console)
    _print_notes(notes, "dim", console)


def _pair_column(first_lines: Sequence[Line]) -> Column:
    """Return a column with the pair in the first line of each section and spaces below it."""

    def cell(line: Line) -> str:
        is_first = any(line is first for first in first_lines)
        return str(line["pair"]) if is_first else " "

    return Column("pair", "Pair", cell)


def _print_notes(notes: Iterable[str], style: str, console: Console) -> None:
    for note in notes:
        bullet = Table.grid(padding=(0, 1, 0, 0))
        bullet.add_column()
        bullet.add_column(overflow="fold")
        bullet.add_row(Text("*", style=style), Text(note, style=style))
        console.print(bullet)


def _print_table(
    title: str, columns: Sequence[Column], sections: Sequence[Sequence[Line]], console: Console
) -> None:
    """Print a table with a rule between its sections.

    If even the narrowest layout does not fit, the terminal wraps lines, so no number is cut off.
    """
    lines = [line for section in sections for line in section]
    layout = _fitting(used(columns, lines), lines, console.width)

    table = Table(
        box=_RULES_ONLY,
        show_edge=False,
        padding=(0, layout.gap - 1, 0, 0),
        pad_edge=False,
        header_style="",
        width=layout.width if layout.width > console.width else None,
    )
    for column in layout.columns:
        table.add_column(
            Text(column.title),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
        )
    for section in sections:
        for line in section:
            table.add_row(*(_cell(column, line) for column in layout.columns))
        table.add_section()

    console.print()
    console.print(Text(title, style="bold"))
    console.print(table, crop=False)
    if layout.omitted:
        _print_notes([f"{OMITTED}: {'; '.join(layout.omitted)}"], "dim", console)


@dataclass(frozen=True)
class _Layout:
    """The columns of a printed table and their spacing.

    Attributes:
        columns: The columns to print.
        omitted: Titles of the omitted columns.
        gap: Spaces between columns.
        width: Total width, in characters.
    """

    columns: list[Column]
    omitted: list[str]
    gap: int
    width: int


def _fitting(columns: Sequence[Column], lines: Sequence[Line], width: int) -> _Layout:
    """Return the first layout that fits the width, or the narrowest if none does."""
    longest = {
        column.name: max(_cell(column, line).cell_len for line in lines) for column in columns
    }

    def width_of(column: Column) -> int:
        letters = longest[column.name]
        if column.is_text:
            letters = min(letters, NAME_WIDTH)
        return max(cell_len(column.title), letters)

    for kept, omitted, gap in _layouts(columns):
        total = sum(map(width_of, kept)) + gap * (len(kept) - 1)
        layout = _Layout(kept, omitted, gap, total)
        if total <= width:
            break
    return layout


def _layouts(columns: Sequence[Column]) -> Iterator[tuple[list[Column], list[str], int]]:
    """Yield layouts to try in order: columns to print, titles of omitted columns, and gap."""
    candidates = [column for column in columns if column.importance < ALWAYS]
    by_importance = sorted(candidates, key=lambda column: column.importance)

    for count in range(len(by_importance) + 1):
        omitted = by_importance[:count]
        kept = [column for column in columns if column not in omitted]
        shortened = [replace(column, title=column.heading) for column in kept]

        titles = [column.title for column in omitted]
        for printed, gap in ((kept, 2), (kept, 1), (shortened, 2), (shortened, 1)):
            yield printed, titles, gap


def _cell(column: Column, line: Line) -> Text:
    text = column.cell(line) or NONE
    if is_bold(column, line):
        return Text(text, style="bold")
    return Text(text, style="dim" if text == NONE else "")
