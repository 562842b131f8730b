"""A leaderboard in Markdown: the page for GitHub, and the short one for MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.report.columns import (
    WORDS,
    Shown,
    boards,
    clocked,
    counted,
    is_bold,
    ranks_over_pairs,
)
from benchmark.report.markdown_text import block, inline
from benchmark.study.plan import Plan

PICTURE = "Top-1 accuracy of every method, mean and 95 % interval"
"""What the main picture shows."""

_NOTED = ("Method", "n", "Top-1 (%)", "vs student", "F1", "ECE", "rank")
"""Columns of a note."""


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
    parts = [f"# {inline(plan.study)}: leaderboard"]
    if plan.question:
        parts.append(block(plan.question))
    parts.append(f"**{inline(headline(board, plan))}**")
    if picture is not None:
        parts.append(f"![{PICTURE}]({picture})")
    if links:
        parts.append("Also: " + ", ".join(f"[{name}]({file})" for name, file in links.items()))
    for shown in (*boards(board, plan), *ranks_over_pairs(board, plan)):
        parts += [f"## {inline(shown.title)}", _table(shown)]
        if shown.notes:
            parts.append(_bullets(shown.notes))
    parts += ["## Costs by counting", _table(counted(board, plan)), "## Costs by the clock"]
    if costs is None:
        parts.append(
            "They differ from one training to the next, so they stand apart: [costs.csv](costs.csv)."
        )
    else:
        parts.append(_table(clocked(costs, plan)))
    parts += ["## How to read the tables", _bullets(footnotes(board, plan))]
    if provenance:
        parts += ["## Where it was trained", _bullets(provenance)]
    return "\n\n".join(parts) + "\n"


def to_note(board: pd.DataFrame, plan: Plan, longest: int) -> str:
    """A short page for MLflow: the headline as its first line, then a narrow table per pair.

    longest: characters; the last rows of each pair drop out until the page fits, and if none is left, the tables.
    """
    said, tables = block(headline(board, plan)), boards(board, plan)
    for most in range(max(len(shown.lines) for shown in tables), 0, -1):
        parts = [said]
        for shown in tables:
            places = [place for place, title in enumerate(shown.titles) if title in _NOTED]
            rows = [[inline(cells[place]) for place in places] for cells in shown.cells[:most]]
            # MLflow sets the columns of a table without a space between them, and trims all but this one.
            table = _markdown([shown.titles[place] for place in places], rows, "&emsp;")
            parts += [f"**{inline(shown.title)}**", table]
            if (more := len(shown.lines) - most) > 0:
                parts.append(f"{more} more row{' is' if more == 1 else 's are'} in the report.")
        text = "\n\n".join(parts) + "\n"
        if len(text) <= longest:
            return text
    return f"{said}\n\nThe tables are in the report.\n"[:longest]


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"* {block(text)}" for text in texts)


def _table(shown: Shown) -> str:
    if not shown.lines:
        return "None was measured."
    rows = []
    for line, cells in zip(shown.lines, shown.cells, strict=True):
        texts = zip(shown.titles, map(inline, cells), strict=True)
        rows.append([f"**{text}**" if is_bold(title, line) else text for title, text in texts])
    return _markdown(shown.titles, rows)


def _markdown(titles: Sequence[str], rows: Iterable[Sequence[str]], apart: str = "") -> str:
    aligned = ["---" if title in WORDS else "---:" for title in titles]
    head, *body = (f"| {f' | {apart}'.join(row)} |" for row in (titles, *rows))
    return "\n".join((head, f"| {' | '.join(aligned)} |", *body))
