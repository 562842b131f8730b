"""A leaderboard as one HTML page that needs nothing beside it: tables that sort by a click, pictures inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.report.columns import (
    NAME_LETTERS,
    NONE,
    WORDS,
    Line,
    Shown,
    boards,
    clocked,
    counted,
    is_bold,
    ranks_over_pairs,
)
from benchmark.report.html_page import SCRIPT, anchors, document
from benchmark.study.plan import TEACHER, Plan

SORTED_BY = {
    "Top-1 (%)": "acc1", "95 % interval": "ci_low", "vs student": "vs_student", "p student": "p_student",
    "vs untuned": "vs_untuned", "vs kd": "vs_kd", "p kd": "p_kd", "published": "published", "rank": "rank",
    "gap closed": "gap_closed", "Top-5": "acc5", "F1": "f1", "ECE": "ece", "agree": "agreement", "params": "params",
    "MACs": "macs", "compute (TMAC)": "compute_tmac", "x student alone": "compute_factor", "n": "n",
    "search (TMAC)": "search_tmac", "latency (ms)": "latency_ms", "latency of 64 (ms)": "latency_batch64_ms",
    "training (s)": "train_seconds", "teacher (s)": "teacher_seconds", "peak memory (MB)": "peak_memory_mb",
    "trials": "trials", "val best - last": "best_minus_last", "mean rank": "mean_rank",
}  # fmt: skip
"""The exact numbers that the columns sort by; those of names sort by their texts."""

_READING = (
    "A click on a header sorts its table; a second one turns the order. Bold: the highest mean among ranked rows with "
    "equal budgets. Shaded: the teacher and the student alone."
)

_CLOCK = (
    '<p class="small">Medians over seeds. They depend on the machine and its load. Peak memory is that of the whole '
    "process, with all students that trained side by side.</p>\n"
)

_HINT = '<p class="hint">Scroll sideways for more &rarr;</p>'


def to_html(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    pictures: Mapping[str, bytes] | None = None,
    provenance: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> str:
    """The page.  pictures: SVG by what it shows. links: other files of the leaderboard, by name."""
    parts = [f"<h1>{escape(plan.study)}: leaderboard</h1>"]
    if plan.question:
        parts.append(f"<p>{escape(plan.question)}</p>")
    parts.append(f'<p class="answer">{escape(headline(board, plan))}</p>')
    if links:
        parts.append(f'<p class="small beside">Also: {anchors(links)}</p>')
    drawn = [_figure(title, svg) for title, svg in (pictures or {}).items()]
    parts += drawn[:1]
    parts.append(f'<p class="small">{_READING}</p>')
    for shown in (*boards(board, plan), *ranks_over_pairs(board, plan)):
        parts += [
            f"<h2>{escape(shown.title)}</h2>",
            _table(shown, plan),
            _list(shown.notes, "small"),
        ]
    parts += ["<h2>More pictures</h2>", *drawn[1:]] if drawn[1:] else []
    for shown, told in ((counted(board, plan), ""), (clocked(costs, plan), _CLOCK)):
        body = told + _table(shown, plan) if shown.lines else "<p>None was measured.</p>"
        parts += [f"<h2>{escape(shown.title)}</h2>", body]
    parts += ["<h2>How to read the tables</h2>", _list(footnotes(board, plan))]
    if provenance:
        parts += ["<h2>Where it was trained</h2>", _list(provenance)]
    return document(f"{plan.study}: leaderboard", parts, SCRIPT)


def _list(lines: Sequence[str], kind: str = "") -> str:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">\n{items}\n</ul>' if lines else ""


def _figure(title: str, svg: bytes) -> str:
    """A picture as a data: address, at most a third larger than it was drawn; one too wide to read scrolls in a box."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)
    wide = float(found.group(1)) * 4 / 3 if found else 700
    least = f' style="min-width:{wide * 0.75:.0f}px"' if wide > 700 else ""
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return (
        f'<figure class="part">{_HINT}<div class="box" style="max-width:{wide * 1.35:.0f}px">'
        f'<img alt="{escape(title)}"{least} src="{address}"></div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _table(shown: Shown, plan: Plan) -> str:
    heads = "".join(_head(title, shown) for title in shown.titles)
    rows = []
    for line, texts in zip(shown.lines, shown.cells, strict=True):
        kind = _kind(
            *["teacher"] * (line["method"] == TEACHER), *["alone"] * (line["method"] in plan.alone)
        )
        cells = [_cell(title, text, line) for title, text in zip(shown.titles, texts, strict=True)]
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="part">{_HINT}<div class="box" tabindex="0"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div></div>"
    )


def _head(title: str, shown: Shown) -> str:
    kind, least = ["words"] * (title in WORDS), ""
    if title == "Method":
        kind.append("name")
        longest = max((len(str(line["method"])) for line in shown.lines), default=0)
        least = f' style="min-width:{min(longest, NAME_LETTERS) + 2}ch"'
    text = re.sub(r"(?<=\w)-(?=\w)", "&#8209;", escape(title))  # no line breaks at a hyphen
    return f'<th scope="col"{_kind(*kind)}{least}><button type="button">{text}</button></th>'


def _kind(*names: str) -> str:
    return f' class="{" ".join(names)}"' if names else ""


def _cell(title: str, text: str, line: Line) -> str:
    kinds = ["words"] * (title in WORDS) + ["name"] * (title == "Method")
    kinds += ["best"] * is_bold(title, line) + ["none"] * (text == NONE)
    return f'<td{_kind(*kinds)} data-v="{escape(_value(title, text, line))}">{escape(text)}</td>'


def _value(title: str, text: str, line: Line) -> str:
    """What a cell sorts by; empty cells come last in both orders."""
    if text == NONE:
        return ""
    if title in WORDS:
        return text
    return repr(float(line[SORTED_BY[title]]))
