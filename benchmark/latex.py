r"""A leaderboard as LaTeX: a booktabs table per pair, to be taken into a document by `\input`."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.columns import Line, Shown, boards, is_best
from benchmark.plan import Plan

LEFT_OUT = {"95 % interval", "Top-5", "F1", "ECE", "agree", "params", "MACs", "published"}
"""Columns that a printed page has no room for."""
SHORTER = {"gap closed": "gap", "compute (TMAC)": "TMAC"}
LONGEST = 40
"""Lines of a table on one page; a longer one may break."""
LEVEL = 0.05

_MARKS = {"p_student": (r"$\dagger$", "the student alone"), "p_kd": (r"$\ddagger$", "kd")}
_CHARACTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}", "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$", "\u2013": "--", "\u2014": "---", "\u2018": "`", "\u2019": "'", "\u201c": "``",
    "\u201d": "''", "\u2026": r"\dots{}", "\u2192": r"$\to$", "\u2212": "$-$",
}  # fmt: skip


def to_latex(board: pd.DataFrame, plan: Plan) -> str:
    """The tables of all pairs, as text of ASCII and Latin letters; a dagger column where a row is significant."""
    packages = r"\usepackage[T1]{fontenc} \usepackage{booktabs}"
    shown = boards(board, plan)
    if any(len(table.lines) > LONGEST for table in shown):
        packages += r" \usepackage{longtable}"
    marks = [name for name in _MARKS if (board[name] < LEVEL).any()]
    tables = [
        _table(table, f"tab:{plan.study}-{number}", marks, plan.study) for number, table in enumerate(shown, start=1)
    ]
    return "\n".join([f"% Needs {packages}", *tables])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; a question mark for letters that pdfLaTeX's fonts lack."""
    spaced = " ".join(text.split())
    return "".join(_CHARACTERS.get(letter) or (letter if ord(letter) < 0x180 else "?") for letter in spaced)


def _table(table: Shown, label: str, marks: list[str], study: str) -> str:
    titles = [title for title in table.titles if title not in LEFT_OUT and not re.match(r"p\b", title)]
    tuned = "vs published" in titles  # more intervals: smaller, and two columns less
    titles = [title for title in titles if not tuned or title not in ("gap closed", "vs kd")]
    size = "\\scriptsize" if tuned else "\\footnotesize"
    header = [*(escaped(SHORTER.get(title, title)) for title in titles), *([""] if marks else [])]
    rows = [[_cell(cells[table.titles.index(title)], title, line) for title in titles]
            + ([_marked(line, marks)] if marks else [])
            for line, cells in zip(table.lines, table.cells, strict=True)]  # fmt: skip
    body = [f"{' & '.join(row)} \\\\" for row in rows]
    body.insert(1, r"\midrule")  # below the teacher
    shape = f"@{{}}l{'r' * (len(titles) - 1)}{'l' if marks else ''}@{{}}"
    against = "".join(f"; {_MARKS[name][0]} $p < {LEVEL}$ against {_MARKS[name][1]}" for name in marks)
    caption = (
        f"{escaped(study)}, {escaped(table.title)}: top-1 accuracy, mean and standard deviation over seeds; "
        f"differences in percentage points with 95 \\% intervals; compute of a training in TMAC. "
        f"Bold: the highest mean among ranked rows with equal budgets{against}."
    )
    named = f"\\caption{{{caption}}}\\label{{{re.sub(r'[^A-Za-z0-9:.-]', '-', label)}}}"
    top = ["\\toprule", f"{' & '.join(header)} \\\\", "\\midrule"]
    if len(rows) > LONGEST:
        start = [f"{{{size}\\setlength{{\\tabcolsep}}{{3pt}}", f"\\begin{{longtable}}{{{shape}}}", f"{named} \\\\"]
        end = ["\\bottomrule", "\\end{longtable}}"]
        return "\n".join([*start, *top, "\\endfirsthead", *top, "\\endhead", *body, *end, ""])
    start = ["\\begin{table}", f"\\centering{size}\\setlength{{\\tabcolsep}}{{3pt}}", named]
    end = ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join([*start, f"\\begin{{tabular}}{{{shape}}}", *top, *body, *end, ""])


def _cell(text: str, title: str, line: Line) -> str:
    if text == "-":
        return "--"
    if title == "Method":
        return escaped(text)
    printed = re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)
    return f"\\textbf{{{escaped(printed)}}}" if title == "Top-1 (%)" and is_best(line) else escaped(printed)


def _marked(line: Line, marks: list[str]) -> str:
    return "".join(_MARKS[name][0] for name in marks if not pd.isna(line[name]) and line[name] < LEVEL)
