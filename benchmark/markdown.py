"""A leaderboard in Markdown: the page for GitHub, and the short one for MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from benchmark.columns import (
    BOARD,
    CLOCKED,
    COLUMNS,
    COUNTED_PAGE,
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
from benchmark.plan import Plan


def to_markdown(
    board: pd.DataFrame,
    costs: pd.DataFrame | None,
    plan: Plan,
    picture: str | None = None,
    provenance: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> str:
    """A page for GitHub. Without `costs` it holds no clock-measured number and points to `costs.csv`.

    `picture` is the path of the main figure relative to the page; `provenance` holds lines about where it was made;
    `links` maps names to files beside the page.
    """
    parts = [f"# {_escaped(plan.study)}: leaderboard"]
    if plan.question:
        parts.append(_escaped(plan.question))
    parts.append(f"**{_escaped(headline(board, plan))}**")
    if picture is not None:
        parts.append(f"![Top-1 accuracy of every method, mean and 95 % interval]({picture})")
    if links:
        parts.append("Also: " + ", ".join(f"[{name}]({file})" for name, file in links.items()))
    for pair, lines in lines_by_pair(board, plan):
        parts += [f"## {_escaped(pair_title(pair, plan))}", _markdown_board(lines)]
        if notes := row_notes(lines):
            parts.append("\n".join(f"* {_escaped(note)}" for note in notes))
    if ranked := over_pairs(board, plan):
        shown = filled(OVER_PAIRS, ranked)
        cells = [[_escaped(column.cell(line)) or NONE for column in shown] for line in ranked]
        parts += [f"## {OVER_PAIRS_TITLE}", _markdown_table([column.title for column in shown], cells)]
    parts += ["## Costs by counting", _markdown_costs(board, plan, COUNTED_PAGE), "## Costs by the clock"]
    if costs is None:
        parts.append("They differ from one training to the next, so they stand apart: [costs.csv](costs.csv).")
    else:
        parts.append(_markdown_costs(costs, plan, CLOCKED))
    parts += ["## How to read the tables", "\n".join(f"* {_escaped(note)}" for note in footnotes(board, plan))]
    if provenance:
        parts += ["## Where it was trained", "\n".join(f"* {_escaped(line)}" for line in provenance)]
    return "\n\n".join(parts) + "\n"


def to_note(board: pd.DataFrame, plan: Plan, longest: int) -> str:
    """A short page for MLflow: the headline as its first line, then a narrow table per pair.

    longest: characters; the last rows of each pair drop out until the page fits.
    """
    pairs = lines_by_pair(board, plan)
    for most in range(max(len(lines) for _, lines in pairs), -1, -1):
        parts = [" ".join(_escaped(headline(board, plan)).split())]
        for pair, lines in pairs:
            columns = filled([column for column in COLUMNS if column.title in _NOTED], lines)
            rows = [[_escaped(column.cell(line)) or NONE for column in columns] for line in lines[:most]]
            # MLflow sets the columns of a table without a space between them, and trims all but this one.
            table = _markdown_table([column.title for column in columns], rows, "&emsp;")
            parts.append(f"**{_escaped(pair_title(pair, plan))}**\n\n{table}" if rows else "")
            if most < len(lines):
                parts.append(f"{len(lines) - most} more rows are in the report.")
        text = "\n\n".join(filter(None, parts)) + "\n"
        if len(text) <= longest:
            break
    return text[:longest]


_NOTED = ("Method", "n", "Top-1 (%)", "vs student", "F1", "ECE", "rank")
"""Columns of a note."""


def _escaped(text: str) -> str:
    """Plain text that Markdown leaves as it is, also inside a table; what is harmless stays readable."""
    special = r"[\\`*|$]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|\](?=[(\[:])|~(?=~)"
    return re.sub(special, lambda found: "\\" + found.group(), " ".join(text.split()))


def _markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], apart: str = "") -> str:
    aligned = ["---" if title in ("Method", "Pair") else "---:" for title in headers]
    head, *body = (f"| {f' | {apart}'.join(row)} |" for row in (headers, *rows))
    return "\n".join((head, f"| {' | '.join(aligned)} |", *body))


def _markdown_board(lines: Sequence[Line]) -> str:
    columns = filled(BOARD, lines)
    rows = []
    for line in lines:
        cells = [_escaped(column.cell(line)) or NONE for column in columns]
        rows.append(
            [
                f"**{cell}**" if is_bold(column.title, line) else cell
                for column, cell in zip(columns, cells, strict=True)
            ]
        )
    return _markdown_table([column.title for column in columns], rows)


def _markdown_costs(table: pd.DataFrame, plan: Plan, costs: Sequence[Column]) -> str:
    lines = [line for _, of_pair in cost_lines(table, plan, costs) for line in of_pair]
    if not lines:
        return "None was measured."
    columns = [Column("Pair", lambda line: str(line["pair"])), *filled([COLUMNS[0], *costs], lines)]
    rows = [[_escaped(column.cell(line)) or NONE for column in columns] for line in lines]
    return _markdown_table([column.title for column in columns], rows)
