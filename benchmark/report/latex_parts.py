"""Parts of LaTeX tables: escaped text, widths, rows, and the table around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 40
"""Maximum number of rows that fit on a page; longer tables may break across pages."""

PAGE_WIDTH = 345.0
"""Width of the text in points, in LaTeX's article class; most journals have more."""

COLUMN_GAP = 3
"""Points on either side of a column."""

SIZES = {r"\footnotesize": 8.0, r"\scriptsize": 7.5}
"""Font sizes to try in turn, and their em in points: small letters are relatively wide."""

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


def escaped(text: str) -> str:
    """Return text that LaTeX prints unchanged, with `?` for letters that pdfLaTeX's fonts lack."""
    spaced = " ".join(text.split())
    return "".join(_escape(letter) for letter in spaced)


def _escape(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]

    in_fonts = letter.isprintable() and ord(letter) < 0x180 and letter not in _NOT_IN_FONTS
    return letter if in_fonts else "?"


def letters(text: str) -> float:
    """Estimate the width of a text in ems."""
    return sum(
        0.34 if letter in " .,:;'|[]()iljtf" else 0.86 if letter in "mwMW%\u00b1-+" else 0.545
        for letter in text
    )


def latex_row(cells: Sequence[str]) -> str:
    """Return a row of a table from texts that are LaTeX already."""
    return rf"{' & '.join(cells)} \\"


@dataclass(frozen=True)
class LatexTable:
    """A table of a paper; it may break across pages if it is longer than `LONGEST`.

    Attributes:
        caption: Its caption, as LaTeX.
        label: Its label; characters that a label cannot have are replaced.
        size: Command that sets the font size.
        alignment: A letter per column.
        head: Rows above the first rule, as LaTeX.
        sections: Rows, as LaTeX; there is a rule between two sections.
        notes: Paragraphs below the table, as LaTeX.
    """

    caption: str
    label: str
    size: str
    alignment: str
    head: Sequence[str]
    sections: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return the lines of the table."""
        label = re.sub(r"[^A-Za-z0-9:.-]", "-", self.label)
        caption = rf"\caption{{{self.caption}}}\label{{{label}}}"
        size = rf"{self.size}\setlength{{\tabcolsep}}{{{COLUMN_GAP}pt}}"
        alignment = f"@{{}}{self.alignment}@{{}}"
        head = [r"\toprule", *self.head, r"\midrule"]
        notes = [rf"\par\noindent {note}" for note in self.notes]
        below = [r"\par\smallskip\raggedright", *notes] if notes else []

        if sum(map(len, self.sections)) > LONGEST:
            return [
                rf"{{{size}\setlength{{\LTcapwidth}}{{\textwidth}}",
                rf"\begin{{longtable}}{{{alignment}}}",
                rf"{caption} \\",
                *head,
                r"\endfirsthead",
                *head,
                r"\endhead",
                *self._body(),
                r"\bottomrule",
                r"\end{longtable}",
                *below,
                r"\par}",
            ]
        return [
            r"\begin{table}",
            rf"\centering{size}",
            caption,
            r"\par\smallskip",
            rf"\begin{{tabular}}{{{alignment}}}",
            *head,
            *self._body(),
            r"\bottomrule",
            r"\end{tabular}",
            *below,
            r"\end{table}",
        ]

    def _body(self) -> list[str]:
        first, *others = self.sections
        lines = [*first]
        for section in others:
            lines += [r"\midrule", *section]
        return lines
