r"""The results as LaTeX: a booktabs table per pair, to be used in a paper with `\input`.

`pandas.io.formats.style.Styler.to_latex` is not used: it cannot draw a rule below the teacher's
row, adds sentences of its own to a `longtable`, and does not escape characters that the fonts of
pdfLaTeX lack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.leaderboard.comparisons import STUDENT_ALONE
from benchmark.leaderboard.statistics import SIGN_FLIP_SEEDS, SIGNIFICANCE
from benchmark.report.columns import NONE, Column, Line
from benchmark.report.latex_parts import (
    COLUMN_GAP,
    LONGEST,
    PAGE_WIDTH,
    SIZES,
    LatexTable,
    escaped,
    latex_row,
    letters,
)
from benchmark.report.tables import OMITTED, TextTable, is_bold, pair_tables
from benchmark.study.plan import TEACHER, Plan

_PRINTED = (
    "method",
    "n",
    "acc1",
    "vs_student",
    "vs_untuned",
    "vs_kd",
    "gap_closed",
    "compute_tmac",
    "rank",
)
"""Columns of a printed table."""

_OMITTED_FIRST = ("gap_closed", "compute_tmac", "vs_kd", "vs_untuned")
"""Columns to omit in turn while a table is too wide. `vs_kd` is kept longer than in a terminal,
because the marks of a row refer to it."""

_MARKS = {"p_student": r"$\dagger$", "p_kd": r"$\ddagger$"}
"""Mark of a significant p value, by column."""


def to_latex(board: pd.DataFrame, plan: Plan) -> str:
    """Return the tables of all pairs, in ASCII and Latin letters.

    A table has a column of daggers if a row of the study differs significantly from the student
    alone or from the reference.

    Args:
        board: The results.
        plan: The study's plan.
    """
    results = pair_tables(board, plan)
    marks = _marked(board)

    packages = r"\usepackage[T1]{fontenc} \usepackage{booktabs}"
    if any(len(table.lines) > LONGEST for table in results):
        packages += r" \usepackage{longtable}"

    parts = [f"% Needs {packages}"]
    for number, table in enumerate(results, start=1):
        layout = _fitting(table, marks)
        parts += _table(table, layout, f"tab:{plan.study}-{number}", plan)
    return "\n".join(parts)


def omitted_columns(board: pd.DataFrame, plan: Plan) -> dict[str, list[str]]:
    """Return the titles of the columns that don't fit the page, by the title of their table.

    Args:
        board: The results.
        plan: The study's plan.
    """
    marks = _marked(board)
    omitted = {table.title: _fitting(table, marks).omitted for table in pair_tables(board, plan)}
    return {title: columns for title, columns in omitted.items() if columns}


def _marked(board: pd.DataFrame) -> list[str]:
    """Return the p values that are significant in any row."""
    return [name for name in _MARKS if (board[name] < SIGNIFICANCE).any()]


@dataclass(frozen=True)
class _Layout:
    """A way to print a table.

    Attributes:
        size: Command that sets the font size.
        columns: The columns to print.
        omitted: Titles of the columns that don't fit.
        marks: The p values that the last column marks.
    """

    size: str
    columns: list[Column]
    omitted: list[str]
    marks: list[str]


def _fitting(table: TextTable, marks: list[str]) -> _Layout:
    """Return the first layout that fits the page, or the narrowest."""
    columns = [column for column in table.columns if column.name in _PRINTED]
    titles = {column.name: column.title for column in columns}
    candidates = [name for name in _OMITTED_FIRST if name in titles]

    for count in range(len(candidates) + 1):
        omitted = candidates[:count]
        kept = [column for column in columns if column.name not in omitted]
        for size in SIZES:
            layout = _Layout(size, kept, [titles[name] for name in omitted], marks)
            if _width(table, layout) <= PAGE_WIDTH:
                return layout
    return layout


def _width(table: TextTable, layout: _Layout) -> float:
    """Estimate the width of a table in points, erring on the wide side."""
    ems = 0.5 * len(layout.marks)
    for column in layout.columns:
        index = table.columns.index(column)
        texts = [column.heading, *(cells[index] for cells in table.cells)]
        ems += max(map(letters, texts))

    gaps = len(layout.columns) - 1 + bool(layout.marks)
    return SIZES[layout.size] * ems + 2 * COLUMN_GAP * gaps


def _table(table: TextTable, layout: _Layout, label: str, plan: Plan) -> list[str]:
    """Return the lines of a table, with its caption and notes."""
    lines = []
    if layout.omitted:
        # `omitted_columns` tells the user as well.
        lines.append(f"% {OMITTED}: {'; '.join(layout.omitted)}")

    teacher, *methods = _body(table, layout)
    drawn = LatexTable(
        caption=_caption(table, layout, plan),
        label=label,
        size=layout.size,
        alignment=f"l{'r' * (len(layout.columns) - 1)}{'l' if layout.marks else ''}",
        head=[latex_row(_titles(layout))],
        sections=[[teacher], methods],
        notes=[escaped(note) for note in table.notes],
    )
    return [*lines, *drawn.lines(), ""]


def _titles(layout: _Layout) -> list[str]:
    titles = [escaped(column.heading) for column in layout.columns]
    return [*titles, ""] if layout.marks else titles


def _body(table: TextTable, layout: _Layout) -> list[str]:
    rows = []
    for line, cells in table.rows():
        texts = [
            latex_cell(column, text, line) for column, text in cells if column in layout.columns
        ]
        if layout.marks:
            texts.append(_marks_of(line, layout.marks))
        rows.append(latex_row(texts))
    return rows


def latex_cell(column: Column, text: str, line: Line) -> str:
    """Return the LaTeX of a cell, in bold for the best accuracy.

    Args:
        column: The column.
        text: Text of the cell.
        line: The results behind the row.
    """
    if text == NONE:
        return "--"
    if column.is_text:
        return escaped(text)

    with_minus_signs = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    printed = escaped(with_minus_signs)
    return rf"\textbf{{{printed}}}" if is_bold(column, line) else printed


def _marks_of(line: Line, names: Sequence[str]) -> str:
    significant = [name for name in names if not pd.isna(line[name]) and line[name] < SIGNIFICANCE]
    return "".join(_MARKS[name] for name in significant)


def _caption(table: TextTable, layout: _Layout, plan: Plan) -> str:
    sentences = [
        f"{escaped(plan.study)}, {escaped(table.title)}: {_description(table, layout)}",
        "Bold: the highest mean among ranked rows with equal budgets"
        + _explained(layout.marks, plan),
    ]
    if _most_seeds(table) < SIGN_FLIP_SEEDS:
        sentences.append(
            f"No difference can be significant with fewer than {SIGN_FLIP_SEEDS} seeds"
        )
    return " ".join(f"{sentence}." for sentence in sentences)


def _description(table: TextTable, layout: _Layout) -> str:
    """Return a description of the columns."""
    parts = [
        "top-1 accuracy, mean and standard deviation over seeds",
        r"differences in percentage points with 95 \% intervals",
    ]
    if any(pd.notna(line["trials"]) and line["trials"] for line in table.lines):
        parts.append("tuned rows are compared with tuned rows")
    if any(column.name == "compute_tmac" for column in layout.columns):
        parts.append("training compute in TMAC")
    return "; ".join(parts)


def _explained(marks: Sequence[str], plan: Plan) -> str:
    """Return an explanation of the marks and of the test behind them."""
    if not marks:
        return ""

    reference = escaped(plan.reference or "the reference")
    rivals = {"p_student": STUDENT_ALONE, "p_kd": reference}
    meanings = [f"; {_MARKS[mark]} $p < {SIGNIFICANCE}$ against {rivals[mark]}" for mark in marks]
    return f"{''.join(meanings)} (sign-flip test of paired differences, Holm's correction)"


def _most_seeds(table: TextTable) -> int:
    return max((line["n"] for line in table.lines if line["method"] != TEACHER), default=0)
