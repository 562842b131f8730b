"""The results as one HTML page that needs no other file: sortable tables and figures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from benchmark.leaderboard.footnotes import GUIDE, footnotes
from benchmark.leaderboard.headline import headline
from benchmark.measures import BY_COLUMN
from benchmark.report.columns import NONE, Column, Line
from benchmark.report.html_page import Link, links, render
from benchmark.report.tables import (
    GUIDE_ADDRESS,
    MEASURED_NOTE,
    NAME_WIDTH,
    NOTHING_MEASURED,
    TextTable,
    computed_costs,
    is_bold,
    measured_costs,
    pair_tables,
    rank_tables,
)
from benchmark.study.plan import TEACHER, Plan

_READABLE = 700
"""Width in pixels up to which a figure may shrink with the window; wider ones scroll in a box."""


class _Head(NamedTuple):
    text: str
    classes: list[str]
    min_letters: int | None


class _Cell(NamedTuple):
    text: str
    classes: list[str]
    value: str


class _Row(NamedTuple):
    classes: list[str]
    cells: list[_Cell]


class _Table(NamedTuple):
    title: str
    heads: list[_Head]
    rows: list[_Row]
    notes: Sequence[str]


class _Figure(NamedTuple):
    caption: str
    source: str
    max_width: int
    min_width: int | None


def to_html(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    figures: Mapping[str, bytes] | None = None,
    provenance: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> str:
    """Return the page.

    Args:
        board: The results.
        costs: The measured costs.
        plan: The study's plan.
        figures: Caption -> SVG. The first figure is placed above the tables.
        provenance: Where the numbers come from, a line per environment.
        files: Text -> path of other files of the leaderboard, relative to the page.
    """
    results = (*pair_tables(board, plan), *rank_tables(board, plan))
    measured = measured_costs(costs, plan)
    notes = (MEASURED_NOTE, BY_COLUMN["peak_memory_mb"].help)
    context = {
        "question": plan.question,
        "answer": headline(board, plan),
        "figures": [_figure(caption, svg) for caption, svg in (figures or {}).items()],
        "tables": [_table(table, plan, table.notes) for table in results],
        "costs": [
            _table(computed_costs(board, plan), plan, ()),
            _table(measured, plan, notes),
        ],
        "nothing_measured": NOTHING_MEASURED,
        "footnotes": footnotes(board, plan),
        "guide": Link(GUIDE, GUIDE_ADDRESS),
        "provenance": provenance,
        "files": links(files or {}),
    }
    return render("leaderboard.html", f"{plan.study}: leaderboard", context, script=True)


def _figure(caption: str, svg: bytes) -> _Figure:
    """Return a figure as a `data:` URL, shown at most a third larger than drawn."""
    width = _READABLE
    if in_points := re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg):
        width = round(float(in_points.group(1)) * 4 / 3)

    return _Figure(
        caption,
        f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}",
        max_width=round(width * 1.35),
        min_width=round(width * 0.75) if width > _READABLE else None,
    )


def _table(table: TextTable, plan: Plan, notes: Sequence[str]) -> _Table:
    rows = [
        _Row(_row_classes(line, plan), [_cell(column, text, line) for column, text in cells])
        for line, cells in table.rows()
    ]
    return _Table(table.title, [_head(column, table) for column in table.columns], rows, notes)


def _row_classes(line: Line, plan: Plan) -> list[str]:
    if line["method"] == TEACHER:
        return ["teacher"]
    if line["method"] in plan.alone:
        return ["alone"]
    return []


def _head(column: Column, table: TextTable) -> _Head:
    min_letters = None
    if column.name == "method":
        longest = max((len(str(line["method"])) for line in table.lines), default=0)
        min_letters = min(longest, NAME_WIDTH) + 2  # two for the padding

    unbroken = re.sub(r"(?<=\w)-(?=\w)", "\N{NON-BREAKING HYPHEN}", column.title)
    return _Head(unbroken, _column_classes(column), min_letters)


def _column_classes(column: Column) -> list[str]:
    classes = []
    if column.is_text:
        classes.append("words")
    if column.name == "method":
        classes.append("name")
    return classes


def _cell(column: Column, text: str, line: Line) -> _Cell:
    classes = _column_classes(column)
    if is_bold(column, line):
        classes.append("best")
    if text == NONE:
        classes.append("none")
    return _Cell(text, classes, _sort_value(column, text, line))


def _sort_value(column: Column, text: str, line: Line) -> str:
    """Return the exact value behind the text; empty cells stay last in both orders."""
    if text == NONE:
        return ""
    if column.is_text:
        return text
    return repr(float(line[column.name]))
