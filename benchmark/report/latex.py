r"""A leaderboard as LaTeX: a booktabs table per pair, to be taken into a document by `\input`."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.leaderboard.statistics import SIGN_FLIP_SEEDS, SIGNIFICANCE
from benchmark.report.columns import BOARD, Line, Shown, boards, is_bold
from benchmark.study.plan import TEACHER, Plan

LEFT_OUT = {"95 % interval", "Top-5", "F1", "ECE", "agree", "params", "MACs", "published"}
"""Columns that a printed page has no room for."""

SHORTER = {column.title: column.short for column in BOARD if column.short}

LEAST_IMPORTANT_FIRST = ("gap closed", "compute (TMAC)", "vs kd", "vs untuned")
"""Columns that go, one after the other, while a table is wider than the page."""

LONGEST = 40
"""Lines of a table on one page; a longer one may break."""

WIDEST = 345.0
"""Points between the margins of LaTeX's article class, which is narrower than most journals' full width."""

GAP = 3
"""Points at either side of a column."""

_SIZES = {r"\footnotesize": 8.0, r"\scriptsize": 7.5}
"""Sizes to set a table in, the first that fits, and how wide their letters are in points: small ones are broader."""

_MARKS = {"p_student": (r"$\dagger$", "the student alone"), "p_kd": (r"$\ddagger$", "kd")}
"""The mark of a p value, and what a row is compared with."""

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
    marks = [name for name in _MARKS if (board[name] < SIGNIFICANCE).any()]
    tables = [
        _table(table, f"tab:{plan.study}-{number}", marks, plan.study)
        for number, table in enumerate(shown, start=1)
    ]
    return "\n".join([f"% Needs {packages}", *tables])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; a question mark for letters that pdfLaTeX's fonts lack."""
    spaced = " ".join(text.split())
    return "".join(
        _CHARACTERS.get(letter) or (letter if _is_printed(letter) else "?") for letter in spaced
    )


def _is_printed(letter: str) -> bool:
    return letter.isprintable() and ord(letter) < 0x180 and letter not in "ĦħĸĿŀŉŦŧſ"


def _table(table: Shown, label: str, marks: list[str], study: str) -> str:
    size, titles, left_out = _fitted(table, marks)
    header = [*(escaped(SHORTER.get(title, title)) for title in titles), *([""] if marks else [])]
    rows = [[_cell(cells[table.titles.index(title)], title, line) for title in titles]
            + ([_marked(line, marks)] if marks else [])
            for line, cells in zip(table.lines, table.cells, strict=True)]  # fmt: skip
    body = [f"{' & '.join(row)} \\\\" for row in rows]
    body.insert(1, r"\midrule")  # below the teacher
    shape = f"@{{}}l{'r' * (len(titles) - 1)}{'l' if marks else ''}@{{}}"
    named = f"\\caption{{{_caption(table, titles, marks, study)}}}\\label{{{re.sub(r'[^A-Za-z0-9:.-]', '-', label)}}}"
    notes = [f"\\par\\noindent {escaped(note)}" for note in table.notes]
    below = ["\\par\\smallskip\\raggedright", *notes] if notes else []
    set_in = f"{size}\\setlength{{\\tabcolsep}}{{{GAP}pt}}"
    top = ["\\toprule", f"{' & '.join(header)} \\\\", "\\midrule"]
    comment = [f"% Left out for want of width: {', '.join(left_out)}"] if left_out else []
    if len(rows) > LONGEST:
        start = [
            f"{{{set_in}\\setlength{{\\LTcapwidth}}{{\\textwidth}}",
            f"\\begin{{longtable}}{{{shape}}}",
        ]
        end = ["\\bottomrule", "\\end{longtable}", *below, "\\par}"]
        return "\n".join(
            [
                *comment,
                *start,
                f"{named} \\\\",
                *top,
                "\\endfirsthead",
                *top,
                "\\endhead",
                *body,
                *end,
                "",
            ]
        )
    start = [
        "\\begin{table}",
        f"\\centering{set_in}",
        named,
        "\\par\\smallskip",
        f"\\begin{{tabular}}{{{shape}}}",
    ]
    return "\n".join(
        [
            *comment,
            *start,
            *top,
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            *below,
            "\\end{table}",
            "",
        ]
    )


def _fitted(table: Shown, marks: list[str]) -> tuple[str, list[str], list[str]]:
    """The size and the columns with which a table is no wider than a page, and the columns that it lacks."""
    titles = [
        title for title in table.titles if title not in LEFT_OUT and not re.match(r"p\b", title)
    ]
    spare = [title for title in LEAST_IMPORTANT_FIRST if title in titles]
    layouts = [(size, spare[:dropped]) for dropped in range(len(spare) + 1) for size in _SIZES]
    for size, left_out in layouts:
        kept = [title for title in titles if title not in left_out]
        if _width(table, kept, marks, _SIZES[size]) <= WIDEST:
            break
    return size, kept, left_out


def _width(table: Shown, titles: list[str], marks: list[str], size: float) -> float:
    """About how many points wide a table is; rather too many than too few."""
    places = [table.titles.index(title) for title in titles]
    longest = [max(_letters(SHORTER.get(title, title)), *(_letters(cells[place]) for cells in table.cells))
               for title, place in zip(titles, places, strict=True)]  # fmt: skip
    return size * (sum(longest) + 0.5 * len(marks)) + 2 * GAP * (len(titles) - 1 + bool(marks))


def _letters(text: str) -> float:
    """The width of a text in ems of its size."""
    return sum(
        0.34 if one in " .,:;'|[]()iljtf" else 0.86 if one in "mwMW%\u00b1-+" else 0.545
        for one in text
    )


def _caption(table: Shown, titles: list[str], marks: list[str], study: str) -> str:
    against = "".join(
        f"; {_MARKS[name][0]} $p < {SIGNIFICANCE}$ against {_MARKS[name][1]}" for name in marks
    )
    tested = " (sign flips of paired differences, Holm's correction)" if marks else ""
    searched = any(pd.notna(line["trials"]) and line["trials"] for line in table.lines)
    tuned = "; tuned rows are compared with tuned ones" if searched else ""
    compute = "; compute of a training in TMAC" if "compute (TMAC)" in titles else ""
    most = max((line["n"] for line in table.lines if line["method"] != TEACHER), default=0)
    power = (
        f" No difference can be significant with fewer than {SIGN_FLIP_SEEDS} seeds."
        if most < SIGN_FLIP_SEEDS
        else ""
    )
    return (
        f"{escaped(study)}, {escaped(table.title)}: top-1 accuracy, mean and standard deviation over seeds; "
        f"differences in percentage points with 95 \\% intervals{tuned}{compute}. "
        f"Bold: the highest mean among ranked rows with equal budgets{against}{tested}.{power}"
    )


def _cell(text: str, title: str, line: Line) -> str:
    if text == "-":
        return "--"
    if title == "Method":
        return escaped(text)
    printed = re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)
    return f"\\textbf{{{escaped(printed)}}}" if is_bold(title, line) else escaped(printed)


def _marked(line: Line, marks: list[str]) -> str:
    return "".join(
        _MARKS[name][0] for name in marks if not pd.isna(line[name]) and line[name] < SIGNIFICANCE
    )
