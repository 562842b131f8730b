"""A leaderboard as one HTML page that needs nothing beside it: tables that sort by a click, pictures inside."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

from benchmark.columns import NONE, Line, Shown, boards, clocked, counted, is_best
from benchmark.findings import footnotes, headline
from benchmark.plan import TEACHER, Plan

SORTED_BY = {
    "Top-1 (%)": "acc1", "95 % interval": "ci_low", "vs student": "vs_student", "vs published": "vs_published",
    "published": "published",
    "gap closed": "gap_closed", "Top-5": "acc5", "F1": "f1", "ECE": "ece", "agree": "agreement", "params": "params",
    "MACs": "macs", "compute (TMAC)": "compute_tmac", "x student alone": "compute_factor", "n": "n",
    "search (TMAC)": "search_tmac", "latency (ms)": "latency_ms", "latency of 64 (ms)": "latency_batch64_ms",
    "training (s)": "train_seconds", "teacher (s)": "teacher_seconds", "peak memory (MB)": "peak_memory_mb",
    "trials": "trials", "val best - last": "best_minus_last",
}  # fmt: skip
"""The exact numbers behind a column's texts; other columns sort by the first number of the text, or the text."""
WORDS = ("Method", "Pair")

STYLE = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:86rem;padding:1rem 1.25rem 3rem;font:16px/1.5 system-ui,"Segoe UI","DejaVu Sans",
sans-serif;color:#1a1a1a;background:#fff;overflow-wrap:anywhere}
h1{margin:.5rem 0;font-size:1.7rem}h2{margin:2rem 0 .5rem;font-size:1.2rem}
.answer{padding:.7rem 1rem;border-left:5px solid #0072b2;background:#eef5fa;font-weight:600}
.box{overflow-x:auto;border:1px solid #d5d5d5;border-radius:4px}
table{border-collapse:collapse;width:100%;font-size:.82rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
th,td{padding:.28rem .45rem;text-align:right;white-space:nowrap;border-bottom:1px solid #ececec}
th{background:#f4f4f4;border-bottom:2px solid #999;padding:0;white-space:normal;vertical-align:bottom}
th.words,td.words{text-align:left}
.name{position:sticky;left:0;border-right:1px solid #ececec;min-width:6.5rem}
td.name{background:#fff;white-space:normal}
tr:hover td{background:#f3f8fc}
tr.teacher td{background:#fdf1e7}tr.alone td{background:#e9f6f1}
td.best{font-weight:700}td.none{color:#767676}
th button{all:unset;box-sizing:border-box;width:100%;padding:.35rem .45rem;font-weight:600;cursor:pointer}
th button:focus-visible{outline:2px solid #0072b2;outline-offset:-2px}
th button::after{content:"\\2195";color:#767676;padding-left:.3em}
th[aria-sort=ascending] button::after{content:"\\2191";color:#0072b2}
th[aria-sort=descending] button::after{content:"\\2193";color:#0072b2}
figure{margin:1rem 0}figure img{display:block;width:100%;height:auto}
figcaption,.small{font-size:.86rem;color:#4a4a4a}
ul{padding-left:1.2rem}a{color:#005a8f}
@media(max-width:760px){body{padding:.75rem .75rem 2rem}}
"""
SCRIPT = """
document.querySelectorAll('th button').forEach(function (button) {
  button.addEventListener('click', function () {
    var head = button.parentNode, column = head.cellIndex, body = head.closest('table').tBodies[0];
    var words = head.classList.contains('words'), before = head.getAttribute('aria-sort');
    var up = before ? before === 'descending' : words;
    var value = function (row) { return row.cells[column].dataset.v; };
    var rows = Array.from(body.rows).sort(function (a, b) {
      var x = value(a), y = value(b);
      if (x === '' || y === '') return (x === '') - (y === '');
      return (up ? 1 : -1) * (words ? x.localeCompare(y) : x - y);
    });
    head.parentNode.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    rows.forEach(function (row) { body.appendChild(row); });
  });
});
"""
# Nothing is asked of any server, whatever a name in the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self' file:"


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
        parts.append(f'<p class="small">Also: {anchors(links)}</p>')
    drawn = [_figure(title, svg) for title, svg in (pictures or {}).items()]
    parts += drawn[:1]
    parts.append('<p class="small">A click on a header sorts its table; a second one turns the order.</p>')
    for shown in boards(board, plan):
        parts += [f"<h2>{escape(shown.title)}</h2>", _table(shown, plan), _list(shown.notes, "small")]
    parts += ["<h2>More pictures</h2>", *drawn[1:]] if drawn[1:] else []
    for shown in (counted(board, plan), clocked(costs, plan)):
        body = _table(shown, plan) if shown.lines else "<p>None was measured.</p>"
        parts += [f"<h2>{escape(shown.title)}</h2>", body]
    parts += ["<h2>How to read the tables</h2>", _list(footnotes(board, plan))]
    if provenance:
        parts += ["<h2>Where it was trained</h2>", _list(provenance)]
    return document(f"{plan.study}: leaderboard", parts, SCRIPT)


def document(title: str, parts: Iterable[str], script: str = "") -> str:
    """A whole page around its parts."""
    policy = f"{_POLICY}; script-src 'unsafe-inline'" if script else _POLICY
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{STYLE}</style>'
    )
    body = "\n".join(part for part in parts if part) + (f"\n<script>{script}</script>" if script else "")
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def anchors(links: Mapping[str, str]) -> str:
    """Links, by their names."""
    return ", ".join(f'<a href="{escape(file)}">{escape(name)}</a>' for name, file in links.items())


def _list(lines: Sequence[str], kind: str = "") -> str:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">\n{items}\n</ul>' if lines else ""


def _figure(title: str, svg: bytes) -> str:
    """A picture as a data: address, at most a third larger than it was drawn; one too wide to read scrolls in a box."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)
    wide = float(found.group(1)) * 4 / 3 if found else 700
    size = f"max-width:{wide * 1.35:.0f}px" + (f";min-width:{wide * 0.75:.0f}px" if wide > 700 else "")
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return (
        f'<figure><div class="box"><img alt="{escape(title)}" style="{size}" src="{address}"></div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _table(shown: Shown, plan: Plan) -> str:
    heads = "".join(
        f'<th scope="col"{_kind(*["words"] * (title in WORDS), *["name"] * (title == "Method"))}>'
        f'<button type="button">{escape(title)}</button></th>'
        for title in shown.titles
    )
    rows = []
    for line, texts in zip(shown.lines, shown.cells, strict=True):
        kind = {TEACHER: _kind("teacher"), plan.baseline: _kind("alone")}.get(line["method"], "")
        cells = [_cell(title, text, line) for title, text in zip(shown.titles, texts, strict=True)]
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="box" tabindex="0"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        "</table></div>"
    )


def _kind(*names: str) -> str:
    return f' class="{" ".join(names)}"' if names else ""


def _cell(title: str, text: str, line: Line) -> str:
    kinds = ["words"] * (title in WORDS) + ["name"] * (title == "Method")
    kinds += ["best"] * (title == "Top-1 (%)" and is_best(line)) + ["none"] * (text == NONE)
    return f'<td{_kind(*kinds)} data-v="{escape(_value(title, text, line))}">{escape(text)}</td>'


def _value(title: str, text: str, line: Line) -> str:
    """What a cell sorts by; empty cells come last in both orders."""
    if text == NONE:
        return ""
    if title in WORDS:
        return text
    if title in SORTED_BY and SORTED_BY[title] in line:
        value = line[SORTED_BY[title]]
        return "" if pd.isna(value) or not math.isfinite(value) else repr(float(value))
    found = re.search(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)
    return found.group() if found else ""
