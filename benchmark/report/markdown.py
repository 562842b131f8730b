"""The results in Markdown: the page for GitHub, and the short note for MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark.leaderboard.footnotes import GUIDE, footnotes
from benchmark.leaderboard.headline import headline
from benchmark.markdown_text import Markdown, block, bold, bullets, inline, link, table
from benchmark.report.tables import (
    ACCURACIES_CAPTION,
    COMPUTED_TITLE,
    GUIDE_ADDRESS,
    MEASURED_TITLE,
    NOTHING_MEASURED,
    TextTable,
    computed_costs,
    is_bold,
    measured_costs,
    pair_tables,
    rank_tables,
)
from benchmark.study.plan import Plan

_IN_NOTE = ("method", "n", "acc1", "vs_student", "f1", "ece", "rank")
"""Columns of the tables in a note."""


def to_markdown(
    board: pd.DataFrame,
    costs: pd.DataFrame | None,
    plan: Plan,
    picture: str | None = None,
    provenance: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the page for GitHub.

    Args:
        board: The results.
        costs: The measured costs. Without them, the page shows no measured costs and links
            to `costs.csv` instead, so that it is the same for every training run with the same
            results.
        plan: The study's plan.
        picture: Path of the main figure, relative to the page.
        provenance: Where the numbers come from, a line per environment.
        links: Text -> path of other files of the leaderboard, relative to the page.
    """
    parts = [f"# {inline(plan.study)}: leaderboard"]
    if plan.question:
        parts.append(block(plan.question))
    parts.append(bold(headline(board, plan)))
    if picture is not None:
        parts.append(f"!{link(ACCURACIES_CAPTION, picture)}")

    for results in (*pair_tables(board, plan), *rank_tables(board, plan)):
        parts += [f"## {inline(results.title)}", _table(results)]
        if results.notes:
            parts.append(bullets(results.notes))

    parts += [f"## {COMPUTED_TITLE}", _table(computed_costs(board, plan))]
    parts.append(f"## {MEASURED_TITLE}")
    if costs is None:
        where = link("costs.csv", "costs.csv")
        parts.append(f"They differ between training runs, so they are listed in {where}.")
    else:
        parts.append(_table(measured_costs(costs, plan)))

    parts += ["## How to read the tables", bullets(footnotes(board, plan))]
    parts.append(f"Every column is explained in {link(GUIDE, GUIDE_ADDRESS)}.")
    if links:
        files = (link(text, path) for text, path in links.items())
        parts += ["## Files", ", ".join(files)]
    if provenance:
        parts += ["## Training environments", bullets(provenance)]
    return "\n\n".join(parts) + "\n"


def to_note(board: pd.DataFrame, plan: Plan, longest: int) -> str:
    """Return a short page for MLflow: the headline on its first line, then a table per pair.

    Args:
        board: The results.
        plan: The study's plan.
        longest: Maximum number of characters. The last rows of each pair are dropped until the
            page fits; if no rows remain, the tables are dropped too.
    """
    answer = block(headline(board, plan))
    tables = pair_tables(board, plan)

    most_rows = max(len(results.lines) for results in tables)
    for count in range(most_rows, 0, -1):
        parts = [answer]
        for results in tables:
            parts += [bold(results.title), _short_table(results, count)]
            omitted = len(results.lines) - count
            if omitted > 0:
                parts.append(
                    f"{omitted} more row{' is' if omitted == 1 else 's are'} in the report."
                )

        note = "\n\n".join(parts) + "\n"
        if len(note) <= longest:
            return note

    return f"{answer}\n\nThe tables are in the report.\n"[:longest]


def _table(results: TextTable) -> str:
    if not results.lines:
        return NOTHING_MEASURED

    rows = [
        [bold(text) if is_bold(column, line) else text for column, text in cells]
        for line, cells in results.rows()
    ]
    return table(results.titles, rows, [not column.is_text for column in results.columns])


def _short_table(results: TextTable, count: int) -> str:
    """Return the first rows, with only the columns of a note."""
    columns = [column for column in results.columns if column.name in _IN_NOTE]
    rows = [
        [text for column, text in cells if column.name in _IN_NOTE] for _, cells in results.rows()
    ]
    return table(
        _spaced([column.heading for column in columns]),
        [_spaced(row) for row in rows[:count]],
        [not column.is_text for column in columns],
    )


def _spaced(texts: Sequence[str]) -> list[str]:
    """Put em spaces between cells: MLflow adds no padding and trims other kinds of space."""
    return [texts[0], *(Markdown(f"&emsp;{inline(text)}") for text in texts[1:])]
