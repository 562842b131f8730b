"""A leaderboard in the terminal: tables as wide as it is, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from rich.box import Box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchmark.columns import (
    CLOCKED,
    COLUMNS,
    COUNTED,
    NONE,
    OVER_PAIRS,
    OVER_PAIRS_TITLE,
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
from benchmark.findings import footnotes, headline
from benchmark.plan import TEACHER, Plan

PLAIN_WIDTH = 120
"""Columns to fill at least when nobody sees a terminal: a file or a pipe."""

RULED = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n".replace("--", "──"))
"""No frame, a rule under the header and one after a section."""
_LEAST_IMPORTANT_FIRST = (
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
)


def to_console(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    """Prints the headline, a table per pair, the costs and the footnotes.

    Columns that don't fit the terminal are left out, least important first, and named below the table.
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
        table, left_out = _board_table(lines, console)
        _print_titled(pair_title(pair, plan), table, console)
        _print_notes(row_notes(lines), "yellow", console)
        if left_out:
            _print_notes([f"left out for want of width: {', '.join(left_out)}"], "dim", console)
    if ranked := over_pairs(board, plan):
        shown = filled(OVER_PAIRS, ranked)
        rows = [([_cell(column, line) for column in shown], False) for line in ranked]
        _print_titled(OVER_PAIRS_TITLE, _airy([column.title for column in shown], rows, 1, console), console)
    for title, source, columns in (
        ("Costs by counting", board, COUNTED),
        ("Costs by the clock, mean over seeds; they depend on the machine and its load", costs, CLOCKED),
    ):
        by_pair = cost_lines(source, plan, columns)
        if any(lines for _, lines in by_pair):
            _print_titled(title, _cost_table(by_pair, columns, console), console)
    console.print()
    _print_notes(footnotes(board, plan), "dim", console)


def _print_titled(title: str, table: Table, console: Console) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _print_notes(notes: Iterable[str], style: str, console: Console) -> None:
    for note in notes:
        bullet = Table.grid(padding=(0, 1, 0, 0))
        bullet.add_row(Text("*", style=style), Text(note, style=style))
        console.print(bullet)


def _board_table(lines: Sequence[Line], console: Console) -> tuple[Table, list[str]]:
    """The widest table of a pair that fits the console, and the titles of the columns that it lacks."""
    columns = filled(COLUMNS, lines)
    spare = [name for name in _LEAST_IMPORTANT_FIRST if name in {column.title for column in columns}]
    for dropped in range(len(spare) + 1):
        kept = [column for column in columns if column.title not in spare[:dropped]]
        rows = [([_cell(column, line) for column in kept], line["method"] == TEACHER) for line in lines]
        table = _airy([column.short or column.title for column in kept], rows, 1, console)
        if _fits(table, console):
            break
    return table, spare[:dropped]


def _cost_table(by_pair: Sequence[tuple[str, Sequence[Line]]], costs: Sequence[Column], console: Console) -> Table:
    columns = filled([COLUMNS[0], *costs], [line for _, lines in by_pair for line in lines])
    several = len(by_pair) > 1
    rows = []
    for pair, lines in by_pair:
        for line in lines:
            name = [Text(pair if line is lines[0] else "")] if several else []
            rows.append(([*name, *(_cell(column, line) for column in columns)], several and line is lines[-1]))
    return _airy(["Pair"] * several + [column.title for column in columns], rows, 1 + several, console)


def _airy(headers: Sequence[str], rows: Sequence[tuple[list[Text], bool]], names: int, console: Console) -> Table:
    """The table with two spaces between columns where that fits, else with one."""
    table = _table(headers, rows, names, 2)
    return table if _fits(table, console) else _table(headers, rows, names, 1)


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update_width(1000), table).maximum <= console.width


def _table(headers: Sequence[str], rows: Sequence[tuple[list[Text], bool]], names: int, gap: int) -> Table:
    """A table of rows, each with whether a rule follows; the first `names` columns hold words, the others numbers."""
    table = Table(box=RULED, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False, header_style="")
    for place, header in enumerate(headers):
        words = place < names
        table.add_column(Text(header), justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for cells, ruled in rows:
        table.add_row(*cells, end_section=ruled)
    return table


def _cell(column: Column, line: Line) -> Text:
    text = column.cell(line) or NONE
    if is_bold(column, line):
        return Text(text, style="bold")
    return Text(text, style="dim" if text == NONE else "")
