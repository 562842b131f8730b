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

from benchmark.leaderboard.statistics import SIGN_FLIP_SEEDS, SIGNIFICANCE
from benchmark.report.columns import NONE, Column, Line
from benchmark.report.tables import OMITTED, TextTable, is_bold, pair_tables
from benchmark.study.plan import TEACHER, Plan

LONGEST = 40
"""Maximum number of rows that fit on a page; longer tables may break across pages."""

PAGE_WIDTH = 345.0
"""Width of the text in points, in LaTeX's article class; most journals have more."""

COLUMN_GAP = 3
"""Points on either side of a column."""

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

_SIZES = {r"\footnotesize": 8.0, r"\scriptsize": 7.5}
"""Font sizes to try in turn, and their em in points: small letters are relatively wide."""

_MARKS = {"p_student": (r"$\dagger$", "the student alone"), "p_kd": (r"$\ddagger$", "kd")}
"""Mark of a significant p value, and what the row is compared with, by column."""

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}",
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "[": "{[}", "]": "{]}", "*": "{*}",
    "\u00b1": r"$\pm$", "\u00d7": r"$\times$", "\u2192": r"$\to$", "\u2212": "$-$",
    "\u2013": "--", "\u2014": "---", "\u2026": r"\dots{}",
    "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
}  # fmt: skip

_NOT_IN_FONTS = "ĦħĸĿŀŉŦŧſ"
"""Latin letters that the fonts of pdfLaTeX lack."""


def to_latex(board: pd.DataFrame, plan: Plan) -> str:
    """Return the tables of all pairs, in ASCII and Latin letters.

    A table has a column of daggers if a row of the study differs significantly from the student
    alone or from kd.

    Args:
        board: The results.
        plan: The study's plan.
    """
    results = pair_tables(board, plan)
    marks = [name for name in _MARKS if (board[name] < SIGNIFICANCE).any()]

    packages = r"\usepackage[T1]{fontenc} \usepackage{booktabs}"
    if any(len(table.lines) > LONGEST for table in results):
        packages += r" \usepackage{longtable}"

    parts = [f"% Needs {packages}"]
    for number, table in enumerate(results, start=1):
        layout = _fitting(table, marks)
        parts += _table(table, layout, f"tab:{plan.study}-{number}", plan.study)
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Return text that LaTeX prints unchanged, with `?` for letters that pdfLaTeX's fonts lack."""
    spaced = " ".join(text.split())
    return "".join(_escape(letter) for letter in spaced)


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]

    in_fonts = letter.isprintable() and ord(letter) < 0x180 and letter not in _NOT_IN_FONTS
    return letter if in_fonts else "?"


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
        for size in _SIZES:
            layout = _Layout(size, kept, [titles[name] for name in omitted], marks)
            if _width(table, layout) <= PAGE_WIDTH:
                return layout
    return layout


def _width(table: TextTable, layout: _Layout) -> float:
    """Estimate the width of a table in points, erring on the wide side."""
    letters = 0.5 * len(layout.marks)
    for column in layout.columns:
        index = table.columns.index(column)
        texts = [column.heading, *(cells[index] for cells in table.cells)]
        letters += max(map(_letters, texts))

    gaps = len(layout.columns) - 1 + bool(layout.marks)
    return _SIZES[layout.size] * letters + 2 * COLUMN_GAP * gaps


def _letters(text: str) -> float:
    """Estimate the width of a text in ems."""
    return sum(
        0.34 if letter in " .,:;'|[]()iljtf" else 0.86 if letter in "mwMW%\u00b1-+" else 0.545
        for letter in text
    )


def _table(table: TextTable, layout: _Layout, label: str, study: str) -> list[str]:
    """Return the lines of a table, with its caption and notes."""
    label = re.sub(r"[^A-Za-z0-9:.-]", "-", label)
    caption = rf"\caption{{{_caption(table, layout, study)}}}\label{{{label}}}"
    size = rf"{layout.size}\setlength{{\tabcolsep}}{{{COLUMN_GAP}pt}}"
    alignment = f"@{{}}l{'r' * (len(layout.columns) - 1)}{'l' if layout.marks else ''}@{{}}"
    notes = [rf"\par\noindent {escaped(note)}" for note in table.notes]
    below = [r"\par\smallskip\raggedright", *notes] if notes else []

    lines = []
    if layout.omitted:
        lines.append(f"% {OMITTED}: {'; '.join(layout.omitted)}")

    if len(table.lines) > LONGEST:
        head = _head(layout)
        lines += [
            rf"{{{size}\setlength{{\LTcapwidth}}{{\textwidth}}",
            rf"\begin{{longtable}}{{{alignment}}}",
            rf"{caption} \\",
            *head,
            r"\endfirsthead",
            *head,
            r"\endhead",
            *_body(table, layout),
            r"\bottomrule",
            r"\end{longtable}",
            *below,
            r"\par}",
        ]
    else:
        lines += [
            r"\begin{table}",
            rf"\centering{size}",
            caption,
            r"\par\smallskip",
            rf"\begin{{tabular}}{{{alignment}}}",
            *_head(layout),
            *_body(table, layout),
            r"\bottomrule",
            r"\end{tabular}",
            *below,
            r"\end{table}",
        ]
    return [*lines, ""]


def _head(layout: _Layout) -> list[str]:
    titles = [escaped(column.heading) for column in layout.columns]
    if layout.marks:
        titles.append("")
    return [r"\toprule", _row(titles), r"\midrule"]


def _body(table: TextTable, layout: _Layout) -> list[str]:
    rows = []
    for line, cells in table.rows():
        texts = [_cell(column, text, line) for column, text in cells if column in layout.columns]
        if layout.marks:
            texts.append(_marks_of(line, layout.marks))
        rows.append(_row(texts))

    teacher, *methods = rows
    return [teacher, r"\midrule", *methods]


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _cell(column: Column, text: str, line: Line) -> str:
    if text == NONE:
        return "--"
    if column.is_text:
        return escaped(text)

    with_minus_signs = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    printed = escaped(with_minus_signs)
    return rf"\textbf{{{printed}}}" if is_bold(column, line) else printed


def _marks_of(line: Line, names: Sequence[str]) -> str:
    significant = [name for name in names if not pd.isna(line[name]) and line[name] < SIGNIFICANCE]
    return "".join(_MARKS[name][0] for name in significant)


def _caption(table: TextTable, layout: _Layout, study: str) -> str:
    sentences = [
        f"{escaped(study)}, {escaped(table.title)}: {_description(table, layout)}",
        f"Bold: the highest mean among ranked rows with equal budgets{_explained(layout.marks)}",
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


def _explained(marks: Sequence[str]) -> str:
    """Return an explanation of the marks and of the test behind them."""
    if not marks:
        return ""

    meanings = [
        f"; {symbol} $p < {SIGNIFICANCE}$ against {name}"
        for symbol, name in (_MARKS[mark] for mark in marks)
    ]
    return f"{''.join(meanings)} (sign-flip test of paired differences, Holm's correction)"


def _most_seeds(table: TextTable) -> int:
    return max((line["n"] for line in table.lines if line["method"] != TEACHER), default=0)
