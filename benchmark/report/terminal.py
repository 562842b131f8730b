"""A leaderboard in the terminal: tables as wide as it is, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pandas as pd
from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.report.columns import (
    CLOCKED,
    COLUMNS,
    COUNTED,
    NAME_LETTERS,
    NONE,
    OVER_PAIRS,
    OVER_PAIRS_TITLE,
    WORDS,
    Column,
    Line,
    cost_lines,
    filled,
    is_bold,
    lines_by_pair,
    over_pairs,
    pair_title,
    row_notes,
)
from benchmark.study.plan import Plan

PLAIN_WIDTH = 120
"""Columns to fill at least when nobody sees a terminal: a file or a pipe."""

RULED = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n".replace("--", "──"))
"""No frame, a rule under the header and one after a section."""

_LEAST_IMPORTANT_FIRST = (
    "teacher (s)",
    "latency of 64 (ms)",
    "peak memory (MB)",
    "training (s)",
    "search (TMAC)",
    "trials",
    "x student alone",
    "vs kd",
    "published",
    "Top-5",
    "MACs",
    "params",
    "agree",
    "ECE",
    "F1",
    "95 % interval",
    "gap closed",
    "vs untuned",
    "p kd",
    "p student",
    "vs student",
)


def to_console(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    """Prints the headline, a table per pair, the costs and the footnotes.

    Columns that don't fit the terminal are left out, least important first, and named below their table.
    """
    width = console.width
    # Without a terminal there is no width to respect, and rich would fold the tables at 80.
    console.width = width if console.is_terminal else max(width, PLAIN_WIDTH)
    try:
        _print(board, costs, plan, console)
    finally:
        console.width = width


def _print(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    console.print(Text(headline(board, plan)))
    for pair, lines in lines_by_pair(board, plan):
        _print_table(pair_title(pair, plan), COLUMNS, [lines[:1], lines[1:]], console)
        _print_notes(row_notes(lines), "yellow", console)
    if ranked := over_pairs(board, plan):
        _print_table(OVER_PAIRS_TITLE, OVER_PAIRS, [ranked], console)
    for title, source, columns in (
        ("Costs by counting", board, COUNTED),
        (
            "Costs by the clock, median over seeds; they depend on the machine and its load",
            costs,
            CLOCKED,
        ),
    ):
        if by_pair := [lines for _, lines in cost_lines(source, plan, columns) if lines]:
            names = [_pair_of_first([lines[0] for lines in by_pair]), COLUMNS[0]]
            _print_table(title, [*names[len(plan.pairs) == 1 :], *columns], by_pair, console)
    console.print()
    _print_notes(footnotes(board, plan), "dim", console)


def _pair_of_first(lines: Sequence[Line]) -> Column:
    """The pair, told in these lines alone; a space in others, which do have one."""
    return Column(
        "Pair", lambda line: str(line["pair"]) if any(line is first for first in lines) else " "
    )


def _print_notes(notes: Iterable[str], style: str, console: Console) -> None:
    for note in notes:
        bullet = Table.grid(padding=(0, 1, 0, 0))
        bullet.add_column()
        bullet.add_column(overflow="fold")
        bullet.add_row(Text("*", style=style), Text(note, style=style))
        console.print(bullet)


def _print_table(
    title: str, columns: Sequence[Column], parts: Sequence[Sequence[Line]], console: Console
) -> None:
    """A table as wide as the console, with a rule between its parts, and the titles of the columns that it lacks.

    Where not even the narrowest fits, the terminal breaks its lines: no number is ever cut.
    """
    lines = [line for part in parts for line in part]
    columns = filled(columns, lines)
    longest = {
        column.cell: max(_cell(column, line).cell_len for line in lines) for column in columns
    }
    for layout in _layouts(columns):
        left_out, shown, gap = layout
        least = gap * (len(shown) - 1)
        for column in shown:
            letters = longest[column.cell]
            least += max(
                cell_len(column.title),
                min(letters, NAME_LETTERS) if column.title in WORDS else letters,
            )
        if least <= console.width:
            break
    table = Table(
        box=RULED, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False, header_style=""
    )
    table.width = least if least > console.width else None
    for column in shown:
        words = column.title in WORDS
        table.add_column(
            Text(column.title),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
        )
    for part in parts:
        for line in part:
            table.add_row(*(_cell(column, line) for column in shown))
        table.add_section()
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table, crop=False)
    if left_out:
        _print_notes([f"left out for want of width: {', '.join(left_out)}"], "dim", console)


def _layouts(columns: Sequence[Column]) -> Iterator[tuple[list[str], list[Column], int]]:
    """What to try, one after the other: the columns to leave out, those to show, and the spaces between them."""
    spare = [
        name for name in _LEAST_IMPORTANT_FIRST if name in {column.title for column in columns}
    ]
    for dropped in range(len(spare) + 1):
        kept = [column for column in columns if column.title not in spare[:dropped]]
        shortened = [replace(column, title=column.short or column.title) for column in kept]
        for shown, gap in ((kept, 2), (kept, 1), (shortened, 2), (shortened, 1)):
            yield spare[:dropped], shown, gap


def _cell(column: Column, line: Line) -> Text:
    text = column.cell(line) or NONE
    if is_bold(column.title, line):
        return Text(text, style="bold")
    return Text(text, style="dim" if text == NONE else "")
