r"""A LaTeX table for a paper: methods x pairs, with chosen columns and numbers of decimals.

Nothing is dropped: pairs that don't fit beside the others continue in a further table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.errors import InputError, suggest
from benchmark.report.columns import METHOD, NONE, Column, Line, result_columns, with_own
from benchmark.report.latex import latex_cell
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
from benchmark.report.tables import lines_by_pair
from benchmark.study.plan import TEACHER, Plan
from benchmark.wording import counted, listed

DECIMALS = 1
"""Usual number of decimals in papers."""

FILE = "paper.tex"

Lines = Mapping[tuple[str, str], Line]
"""Lines of the results by pair and method."""


@dataclass(frozen=True)
class Paper:
    """The table of a paper.

    Attributes:
        text: Its LaTeX.
        remarks: What the user should know about it, a line each.
    """

    text: str
    remarks: list[str]


@dataclass(frozen=True)
class _Content:
    """What the tables show.

    Attributes:
        plan: The study's plan.
        lines: The results.
        columns: Columns of each pair.
    """

    plan: Plan
    lines: Lines
    columns: Sequence[Column]

    @property
    def methods(self) -> list[str]:
        """Names of the rows below the teacher's."""
        return list(self.plan.methods)

    def line(self, pair: str, method: str) -> Line | None:
        """Return the results of a row on a pair, if there are any."""
        return self.lines.get((pair, method))

    def text(self, column: Column, pair: str, method: str) -> str:
        """Return the text of a cell."""
        line = self.line(pair, method)
        return NONE if line is None else column.cell(line) or NONE


def choose_columns(names: Sequence[str], plan: Plan, decimals: int = DECIMALS) -> list[Column]:
    """Return columns of the results by name, with this number of decimals.

    Args:
        names: Names of columns of `leaderboard.csv`.
        plan: The study's plan.
        decimals: Number of decimals of accuracies, other shares and differences.

    Raises:
        InputError: There is no such column, or one is named twice.
    """
    columns = with_own(result_columns(decimals), plan, decimals)
    known = {column.name: column for column in columns if column.name != "method"}
    for name in names:
        if name not in known:
            raise InputError(f"--latex-columns: no column {name!r}; {suggest(name, known)}")
        if names.count(name) > 1:
            raise InputError(f"--latex-columns: {name!r} occurs twice; remove one")
    return [known[name] for name in names]


def paper(board: pd.DataFrame, plan: Plan, columns: Sequence[Column]) -> Paper:
    """Return the tables: a row per method, and the chosen columns for each pair.

    Args:
        board: The results.
        plan: The study's plan.
        columns: The columns, from `choose_columns`.
    """
    lines = {
        (pair, str(line["method"])): line
        for pair, pair_lines in lines_by_pair(board, plan)
        for line in pair_lines
    }
    content = _Content(plan, lines, columns)
    size, groups = _layout(content)

    packages = r"\usepackage[T1]{fontenc} \usepackage{booktabs}"
    if 1 + len(plan.methods) > LONGEST:
        packages += r" \usepackage{longtable}"
    parts = [f"% Needs {packages}"]
    for number, pairs in enumerate(groups, start=1):
        parts += [*_table(content, pairs, size, number).lines(), ""]
    return Paper("\n".join(parts), _remarks(content, size, groups))


def _layout(content: _Content) -> tuple[str, list[list[str]]]:
    """Return the font size, and the pairs of each table.

    All pairs share a table if they fit the page; otherwise, each table has as many as fit.
    """
    pairs = list(content.plan.pairs)
    for size in SIZES:
        if _width(content, pairs, size) <= PAGE_WIDTH:
            return size, [pairs]

    widest = [
        size for size in SIZES if all(_width(content, [pair], size) <= PAGE_WIDTH for pair in pairs)
    ]
    size = widest[0] if widest else list(SIZES)[-1]
    groups: list[list[str]] = []
    for pair in pairs:
        if groups and _width(content, [*groups[-1], pair], size) <= PAGE_WIDTH:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return size, groups


def _width(content: _Content, pairs: Sequence[str], size: str) -> float:
    """Estimate the width of a table in points, erring on the wide side."""
    names = [METHOD.title, TEACHER, *content.methods]
    ems = max(map(letters, names))
    gaps = 2.0 * COLUMN_GAP * len(pairs) * len(content.columns)
    rows = [TEACHER, *content.methods]

    for pair in pairs:
        widths = [
            max(
                letters(column.heading) if len(content.columns) > 1 else 0.0,
                *(letters(content.text(column, pair, row)) + _mark_width(content) for row in rows),
            )
            for column in content.columns
        ]
        title = max(map(letters, _title_lines(pair)))
        ems += max(sum(widths), title)
    return SIZES[size] * ems + gaps


def _mark_width(content: _Content) -> float:
    """Return the width of the number of seeds that incomplete rows have behind their accuracy."""
    return 0.8 if _incomplete(content) else 0.0


def _title_lines(pair: str) -> list[str]:
    """Divide the name of a pair into two lines, at the hyphen nearest to its middle."""
    hyphens = [index for index, letter in enumerate(pair) if letter == "-"]
    inside = [index for index in hyphens if 0 < index < len(pair) - 1]
    if not inside:
        return [pair]

    middle = min(inside, key=lambda index: abs(index - len(pair) / 2))
    return [pair[:middle], pair[middle + 1 :]]


def _table(content: _Content, pairs: Sequence[str], size: str, number: int) -> LatexTable:
    count = len(content.columns)
    head = [latex_row(["", *(_title(pair, count) for pair in pairs)])]
    if count > 1:
        rules = [
            rf"\cmidrule(lr){{{2 + index * count}-{1 + (index + 1) * count}}}"
            for index in range(len(pairs))
        ]
        titles = [escaped(column.heading) for column in content.columns]
        head += ["".join(rules), latex_row([METHOD.title, *(titles * len(pairs))])]

    teacher, *methods = (_row(content, pairs, row) for row in (TEACHER, *content.methods))
    return LatexTable(
        caption=_caption(content, number),
        label=f"tab:{content.plan.study}-paper-{number}",
        size=size,
        alignment=f"l{'r' * count * len(pairs)}",
        head=head,
        sections=[[teacher], methods],
    )


def _title(pair: str, columns: int) -> str:
    lines = r"\\".join(map(escaped, _title_lines(pair)))
    return rf"\multicolumn{{{columns}}}{{c}}{{\shortstack{{{lines}}}}}"


def _row(content: _Content, pairs: Sequence[str], method: str) -> str:
    cells = [escaped(method)]
    for pair in pairs:
        line = content.line(pair, method)
        for column in content.columns:
            text = content.text(column, pair, method)
            cell = "--" if line is None else latex_cell(column, text, line)
            if line is not None and column.name == "acc1" and 0 < line["n"] < line["planned"]:
                cell += f"$_{{{line['n']}}}$"
            cells.append(cell)
    return latex_row(cells)


def _caption(content: _Content, number: int) -> str:
    plan = content.plan
    what = "; ".join(_described(column) for column in content.columns)
    sentences = [
        f"{escaped(plan.study)}{', continued' if number > 1 else ''}: {what}, "
        f"{counted(len(plan.seeds), 'seed')}",
    ]
    if any(column.name == "acc1" for column in content.columns):
        sentences.append(
            "Bold: the highest mean among the ranked rows of a pair with equal budgets"
        )
        if _incomplete(content):
            sentences.append("Subscripts: number of seeds, where some are missing")
    if _empty(content):
        sentences.append("--: no value")
    return " ".join(f"{sentence}." for sentence in sentences)


def _described(column: Column) -> str:
    if column.name == "acc1":
        return r"top-1 accuracy (\%), mean $\pm$ standard deviation"
    if column.name.startswith("vs_"):
        return rf"{escaped(column.title)} in percentage points with 95 \% interval"
    return escaped(column.title)


def _incomplete(content: _Content) -> bool:
    return any(
        0 < line["n"] < line["planned"]
        for (_, method), line in content.lines.items()
        if method != TEACHER
    )


def _empty(content: _Content) -> bool:
    return any(
        content.text(column, pair, method) == NONE
        for pair in content.plan.pairs
        for method in content.methods
        for column in content.columns
    )


def _remarks(content: _Content, size: str, groups: Sequence[Sequence[str]]) -> list[str]:
    remarks = []
    if len(groups) > 1:
        remarks.append(f"the pairs don't fit beside each other, so there are {len(groups)} tables")
    wide = [
        pair
        for pairs in groups
        for pair in pairs
        if len(pairs) == 1 and _width(content, pairs, size) > PAGE_WIDTH
    ]
    if wide:
        remarks.append(
            f"wider than a page of {PAGE_WIDTH:g} points: {listed(wide)}; choose fewer columns"
        )
    return remarks
