"""How a leaderboard looks: in the terminal, as a page, as a table for programs, and as a picture.

The only place that rounds. The files of one leaderboard are a function of its results alone, byte for byte; numbers
that a clock measured go to `costs.csv` and nowhere else.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import textwrap
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from rich.box import Box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchmark.axes import beyond, limits, mark_beyond
from benchmark.leaderboard import SIGN_FLIP_SEEDS, TEACHER, Plan, footnotes, headline, plain, signed
from benchmark.statistics import SIGNIFICANCE

PLAIN_WIDTH = 120
"""Columns to fill at least when nobody sees a terminal: a file or a pipe."""

NOTE_WIDTH = 240
"""Characters of a note that a page shows; the CSV keeps all of them."""

NONE = "-"

RULED = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n".replace("--", "──"))
"""No frame, a rule under the header and one after a section."""

Line = Mapping[Hashable, Any]


@dataclass(frozen=True)
class _Column:
    """A column of a printed table; `cell` returns "" where the line has nothing to say."""

    title: str
    cell: Callable[[Line], str]
    short: str = ""
    """The title in the terminal, where it must be narrower."""


@dataclass(frozen=True)
class Shown:
    """A table as it is shown: its lines, and a text per line and title ("-" where there is nothing to say)."""

    title: str
    titles: tuple[str, ...]
    lines: tuple[Line, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def boards(board: pd.DataFrame, plan: Plan) -> list[Shown]:
    """The table of each pair."""
    return [
        _shown(_title(pair, plan), _filled(_BOARD, lines), lines, _notes(lines))
        for pair, lines in _by_pair(board, plan)
    ]


def over_pairs(board: pd.DataFrame, plan: Plan) -> list[Shown]:
    """The table of mean ranks, if any row has one."""
    ranked = _over_pairs(board, plan)
    return [_shown(_OVER_PAIRS_TITLE, _filled(_OVER_PAIRS, ranked), ranked)] if ranked else []


def counted(board: pd.DataFrame, plan: Plan) -> Shown:
    """The costs by counting, of all pairs."""
    return _shown_costs("Costs by counting", board, plan, _COUNTED_PAGE)


def clocked(costs: pd.DataFrame, plan: Plan) -> Shown:
    """The costs by the clock, of all pairs."""
    return _shown_costs("Costs by the clock", costs, plan, _CLOCKED)


def _shown_costs(title: str, table: pd.DataFrame, plan: Plan, costs: Sequence[_Column]) -> Shown:
    lines = [line for _, of_pair in _cost_lines(table, plan, costs) for line in of_pair]
    pair = _Column("Pair", lambda line: str(line["pair"]))
    return _shown(title, [pair, *_filled([_COLUMNS[0], *costs], lines)], lines)


def _shown(title: str, columns: Sequence[_Column], lines: Sequence[Line], notes: Sequence[str] = ()) -> Shown:
    cells = tuple(tuple(column.cell(line) or NONE for column in columns) for line in lines)
    return Shown(title, tuple(column.title for column in columns), tuple(lines), cells, tuple(notes))


def to_console(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    """Prints the headline, a table per pair, the costs and the footnotes.

    Columns that don't fit the terminal are left out, least important first, and named below the table.
    """
    width = console.width
    # Without a terminal there is no width to respect, and rich would fold the tables at 80.
    console.width = width if console.is_terminal else max(width, PLAIN_WIDTH)
    try:
        _print(board, costs, plan, console)
    finally:
        console.width = width


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
    parts = [f"# {_escaped(plan.study)}: leaderboard"]
    if plan.question:
        parts.append(_escaped(plan.question))
    parts.append(f"**{_escaped(headline(board, plan))}**")
    if picture is not None:
        parts.append(f"![Top-1 accuracy of every method, mean and 95 % interval]({picture})")
    if links:
        parts.append("Also: " + ", ".join(f"[{name}]({file})" for name, file in links.items()))
    for pair, lines in _by_pair(board, plan):
        parts += [f"## {_escaped(_title(pair, plan))}", _markdown_board(lines)]
        if notes := _notes(lines):
            parts.append("\n".join(f"* {_escaped(note)}" for note in notes))
    if ranked := _over_pairs(board, plan):
        shown = _filled(_OVER_PAIRS, ranked)
        cells = [[_escaped(column.cell(line)) or NONE for column in shown] for line in ranked]
        parts += [f"## {_OVER_PAIRS_TITLE}", _markdown_table([column.title for column in shown], cells)]
    parts += ["## Costs by counting", _markdown_costs(board, plan, _COUNTED_PAGE), "## Costs by the clock"]
    if costs is None:
        parts.append("They differ from one training to the next, so they stand apart: [costs.csv](costs.csv).")
    else:
        parts.append(_markdown_costs(costs, plan, _CLOCKED))
    parts += ["## How to read the tables", "\n".join(f"* {_escaped(note)}" for note in footnotes(board, plan))]
    if provenance:
        parts += ["## Where it was trained", "\n".join(f"* {_escaped(line)}" for line in provenance)]
    return "\n\n".join(parts) + "\n"


def to_note(board: pd.DataFrame, plan: Plan, longest: int) -> str:
    """A short page for MLflow: the headline as its first line, then a narrow table per pair.

    longest: characters; the last rows of each pair drop out until the page fits.
    """
    pairs = _by_pair(board, plan)
    for most in range(max(len(lines) for _, lines in pairs), -1, -1):
        parts = [" ".join(_escaped(headline(board, plan)).split())]
        for pair, lines in pairs:
            columns = _filled([column for column in _COLUMNS if column.title in _NOTED], lines)
            rows = [[_escaped(column.cell(line)) or NONE for column in columns] for line in lines[:most]]
            # MLflow sets the columns of a table without a space between them, and trims all but this one.
            table = _markdown_table([column.title for column in columns], rows, "&emsp;")
            parts.append(f"**{_escaped(_title(pair, plan))}**\n\n{table}" if rows else "")
            if most < len(lines):
                parts.append(f"{len(lines) - most} more rows are in the report.")
        text = "\n\n".join(filter(None, parts)) + "\n"
        if len(text) <= longest:
            break
    return text[:longest]


_NOTED = ("Method", "n", "Top-1 (%)", "vs student", "F1", "ECE", "rank")
"""Columns of a note."""


def to_csv(board: pd.DataFrame) -> str:
    r"""The table in full precision: shortest exact floats, empty for missing values, lines end in `\n`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(board.columns)
    for line in board.itertuples(index=False, name=None):
        writer.writerow(_exact(value) for value in line)
    return text.getvalue()


def _exact(value: Any) -> str:
    if pd.isna(value):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def write(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    folder: Path,
    provenance: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes `leaderboard.csv`, `.md`, `.svg` and `.png`, and `costs.csv`; each file is replaced as a whole.

    All but `costs.csv` are equal byte for byte between two trainings with equal results and `provenance`.
    """
    svg, png = rendered(figure(board, plan))
    contents = {
        "leaderboard.csv": to_csv(board).encode(),
        "costs.csv": to_csv(costs).encode(),
        "leaderboard.md": to_markdown(board, None, plan, "leaderboard.png", provenance, links).encode(),
        "leaderboard.svg": svg,
        "leaderboard.png": png,
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [replace_file(folder / name, content) for name, content in contents.items()]


def rendered(drawn: Figure) -> tuple[bytes, bytes]:
    """A figure as SVG and as PNG, the same bytes every time."""
    with matplotlib.rc_context(STYLE):
        svg, png = io.BytesIO(), io.BytesIO()
        drawn.savefig(svg, format="svg", metadata={"Date": None})
        drawn.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def replace_file(path: Path, content: bytes) -> Path:
    """Writes a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _method(line: Line) -> str:
    return str(line["method"])


def _n(line: Line) -> str:
    if not line["planned"]:
        return ""
    return f"{line['n']}" if line["n"] == line["planned"] else f"{line['n']}/{line['planned']}"


def _mean(line: Line) -> str:
    spread = f" ± {plain(line['sd'], 2)}" if math.isfinite(line["sd"]) else ""
    return f"{plain(line['acc1'], 2)}{spread}" if line["n"] else ""


def _interval(line: Line) -> str:
    if not math.isfinite(line["ci_low"]):
        return ""
    return f"[{plain(line['ci_low'], 2)}, {plain(line['ci_high'], 2)}]"


def _difference(name: str) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        value, low, high = line[name], line[f"{name}_low"], line[f"{name}_high"]
        if not math.isfinite(value):
            return ""
        return signed(value, 2) + (f" [{plain(low, 2)}, {plain(high, 2)}]" if math.isfinite(low) else "")

    return cell


def _p(name: str) -> Callable[[Line], str]:
    """A p value, with a dagger where it is significant; "" where so few seeds could not make it so."""

    def cell(line: Line) -> str:
        p = line[f"p_{name}"]
        if not math.isfinite(p) or line["n"] < SIGN_FLIP_SEEDS:
            return ""
        return ("<0.001" if p < 0.001 else plain(p, 3)) + (" †" if p < SIGNIFICANCE else "")

    return cell


def _mean_rank(line: Line) -> str:
    if not math.isfinite(line["mean_rank"]):
        return ""
    return f"{plain(line['mean_rank'], 2)} [{plain(line['mean_rank_low'], 2)}, {plain(line['mean_rank_high'], 2)}]"


def _rank(line: Line) -> str:
    """The place among the rows with equal budgets: `2`, or `tuned 2` among the tuned ones."""
    if pd.isna(line["rank"]):
        return ""
    return f"tuned {line['rank']}" if line["trials"] else str(line["rank"])


def _trials(line: Line) -> str:
    return "" if pd.isna(line["trials"]) or not line["trials"] else str(line["trials"])


def _number(name: str, digits: int, unit: str = "") -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        return plain(line[name], digits) + unit if math.isfinite(line[name]) else ""

    return cell


def _three_digits(name: str) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        value = line[name]
        if not math.isfinite(value):
            return ""
        return plain(value, max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0)

    return cell


def _count(name: str) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        return _short(line[name]) if math.isfinite(line[name]) else ""

    return cell


def _short(value: float) -> str:
    """Three digits and a letter for the power of a thousand: 272474 -> 272k."""
    for letter in ("", "k", "M", "G", "T"):
        if value < 999.5 or letter == "T":
            break
        value /= 1000
    digits = 0 if not letter or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{letter}"


_COLUMNS = (
    _Column("Method", _method),
    _Column("n", _n),
    _Column("Top-1 (%)", _mean),
    _Column("95 % interval", _interval),
    _Column("vs student", _difference("vs_student")),
    _Column("p student", _p("student")),
    _Column("vs published", _difference("vs_published")),
    _Column("vs kd", _difference("vs_kd")),
    _Column("p kd", _p("kd")),
    _Column("gap closed", _number("gap_closed", 0, "%"), short="gap"),
    _Column("Top-5", _number("acc5", 2)),
    _Column("F1", _number("f1", 1)),
    _Column("ECE", _number("ece", 1)),
    _Column("agree", _number("agreement", 1)),
    _Column("published", _number("published", 2)),
    _Column("params", _count("params")),
    _Column("MACs", _count("macs")),
    _Column("rank", _rank),
)
_COMPUTE = _Column("compute (TMAC)", _three_digits("compute_tmac"))
_BOARD = (*_COLUMNS[:-1], _COMPUTE, _COLUMNS[-1])
"""The columns of a page, where width is no matter."""
_COUNTED = (
    _Column("params", _count("params")),
    _COMPUTE,
    _Column("x student alone", _three_digits("compute_factor")),
    _Column("trials", _trials),
    _Column("search (TMAC)", _three_digits("search_tmac")),
)
_COUNTED_PAGE = (*_COUNTED, _Column("val best - last", _number("best_minus_last", 2)))
"""What a page shows beside the costs: a diagnostic, for which a terminal has no room."""
_CLOCKED = (
    _Column("latency (ms)", _three_digits("latency_ms")),
    _Column("training (s)", _three_digits("train_seconds")),
    _Column("teacher (s)", _three_digits("teacher_seconds")),
    _Column("peak memory (MB)", _three_digits("peak_memory_mb")),
)
_OVER_PAIRS = (_Column("Method", _method), _Column("mean rank", _mean_rank), _Column("trials", _trials))
_LEAST_IMPORTANT_FIRST = (
    "vs kd",
    "published",
    "Top-5",
    "MACs",
    "params",
    "agree",
    "ECE",
    "F1",
    "95 % interval",
    "gap closed",
    "vs published",
    "p kd",
)


_OVER_PAIRS_TITLE = "Mean rank over pairs"


def _filled(columns: Iterable[_Column], lines: Sequence[Line]) -> list[_Column]:
    """The columns in which any line has something to say."""
    return [column for column in columns if any(column.cell(line) for line in lines)]


def _by_pair(board: pd.DataFrame, plan: Plan) -> list[tuple[str, list[Line]]]:
    lines: list[Line] = [*board.to_dict("records")]
    return [(pair, [line for line in lines if line["pair"] == pair]) for pair in plan.pairs]


def _title(pair: str, plan: Plan) -> str:
    dataset = plan.datasets.get(pair)
    return f"{pair}, {dataset}" if dataset else pair


def _notes(lines: Sequence[Line]) -> list[str]:
    """The notes of the rows, each once, after the names of the rows that it is about."""
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line["note"]:
            rows.setdefault(line["note"], []).append(str(line["method"]))
    return [f"{', '.join(names)}: {textwrap.shorten(note, NOTE_WIDTH)}" for note, names in rows.items()]


def _over_pairs(board: pd.DataFrame, plan: Plan) -> list[Line]:
    """A line for each method with a mean rank, best first, apart by number of trials."""
    of_pair: list[Line] = [*board[board["pair"] == plan.pairs[0]].to_dict("records")]
    ranked = [line for line in of_pair if math.isfinite(line["mean_rank"])]
    return sorted(ranked, key=lambda line: (line["trials"], line["mean_rank"], plan.methods.index(line["method"])))


def is_best(line: Line) -> bool:
    """Whether no ranked row with an equal budget has a higher mean."""
    return not pd.isna(line["rank"]) and bool(line["rank"] == 1)


def _cost_lines(table: pd.DataFrame, plan: Plan, columns: Sequence[_Column]) -> list[tuple[str, list[Line]]]:
    """Per pair the rows that cost something by these columns, the teacher and then in the plan's order."""
    order = {name: place for place, name in enumerate((TEACHER, *plan.methods))}
    pairs = [(pair, sorted(lines, key=lambda line: order[line["method"]])) for pair, lines in _by_pair(table, plan)]
    return [(pair, [line for line in lines if _filled(columns, [line])]) for pair, lines in pairs]


def _print(board: pd.DataFrame, costs: pd.DataFrame, plan: Plan, console: Console) -> None:
    console.print(Text(headline(board, plan)))
    for pair, lines in _by_pair(board, plan):
        table, left_out = _board_table(lines, console)
        _print_titled(_title(pair, plan), table, console)
        _print_notes(_notes(lines), "yellow", console)
        if left_out:
            _print_notes([f"left out for want of width: {', '.join(left_out)}"], "dim", console)
    if ranked := _over_pairs(board, plan):
        shown = _filled(_OVER_PAIRS, ranked)
        rows = [([_cell(column, line) for column in shown], False) for line in ranked]
        _print_titled(_OVER_PAIRS_TITLE, _airy([column.title for column in shown], rows, 1, console), console)
    for title, source, columns in (
        ("Costs by counting", board, _COUNTED),
        ("Costs by the clock, mean over seeds; they depend on the machine and its load", costs, _CLOCKED),
    ):
        by_pair = _cost_lines(source, plan, columns)
        if any(lines for _, lines in by_pair):
            _print_titled(title, _cost_table(by_pair, columns, console), console)
    console.print()
    _print_notes(footnotes(board, plan), "dim", console)


def _print_titled(title: str, table: Table, console: Console) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _print_notes(notes: Iterable[str], style: str, console: Console) -> None:
    for note in notes:
        bullet = Table.grid(padding=(0, 1, 0, 0))
        bullet.add_row(Text("*", style=style), Text(note, style=style))
        console.print(bullet)


def _board_table(lines: Sequence[Line], console: Console) -> tuple[Table, list[str]]:
    """The widest table of a pair that fits the console, and the titles of the columns that it lacks."""
    columns = _filled(_COLUMNS, lines)
    spare = [name for name in _LEAST_IMPORTANT_FIRST if name in {column.title for column in columns}]
    for dropped in range(len(spare) + 1):
        kept = [column for column in columns if column.title not in spare[:dropped]]
        rows = [([_cell(column, line) for column in kept], line["method"] == TEACHER) for line in lines]
        table = _airy([column.short or column.title for column in kept], rows, 1, console)
        if _fits(table, console):
            break
    return table, spare[:dropped]


def _cost_table(by_pair: Sequence[tuple[str, Sequence[Line]]], costs: Sequence[_Column], console: Console) -> Table:
    columns = _filled([_COLUMNS[0], *costs], [line for _, lines in by_pair for line in lines])
    several = len(by_pair) > 1
    rows = []
    for pair, lines in by_pair:
        for line in lines:
            name = [Text(pair if line is lines[0] else "")] if several else []
            rows.append(([*name, *(_cell(column, line) for column in columns)], several and line is lines[-1]))
    return _airy(["Pair"] * several + [column.title for column in columns], rows, 1 + several, console)


def _airy(headers: Sequence[str], rows: Sequence[tuple[list[Text], bool]], names: int, console: Console) -> Table:
    """The table with two spaces between columns where that fits, else with one."""
    table = _table(headers, rows, names, 2)
    return table if _fits(table, console) else _table(headers, rows, names, 1)


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update_width(1000), table).maximum <= console.width


def _table(headers: Sequence[str], rows: Sequence[tuple[list[Text], bool]], names: int, gap: int) -> Table:
    """A table of rows, each with whether a rule follows; the first `names` columns hold words, the others numbers."""
    table = Table(box=RULED, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False, header_style="")
    for place, header in enumerate(headers):
        words = place < names
        table.add_column(Text(header), justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for cells, ruled in rows:
        table.add_row(*cells, end_section=ruled)
    return table


def _cell(column: _Column, line: Line) -> Text:
    text = column.cell(line) or NONE
    if column.cell is _mean and is_best(line):
        return Text(text, style="bold")
    return Text(text, style="dim" if text == NONE else "")


def _escaped(text: str) -> str:
    """Plain text that Markdown leaves as it is, also inside a table; what is harmless stays readable."""
    special = r"[\\`*|$]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|\](?=[(\[:])|~(?=~)"
    return re.sub(special, lambda found: "\\" + found.group(), " ".join(text.split()))


def _markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], apart: str = "") -> str:
    aligned = ["---" if title in ("Method", "Pair") else "---:" for title in headers]
    head, *body = (f"| {f' | {apart}'.join(row)} |" for row in (headers, *rows))
    return "\n".join((head, f"| {' | '.join(aligned)} |", *body))


def _markdown_board(lines: Sequence[Line]) -> str:
    columns = _filled(_BOARD, lines)
    rows = []
    for line in lines:
        cells = [_escaped(column.cell(line)) or NONE for column in columns]
        rows.append(
            [
                f"**{cell}**" if column.cell is _mean and is_best(line) else cell
                for column, cell in zip(columns, cells, strict=True)
            ]
        )
    return _markdown_table([column.title for column in columns], rows)


def _markdown_costs(table: pd.DataFrame, plan: Plan, costs: Sequence[_Column]) -> str:
    lines = [line for _, of_pair in _cost_lines(table, plan, costs) for line in of_pair]
    if not lines:
        return "None was measured."
    columns = [_Column("Pair", lambda line: str(line["pair"])), *_filled([_COLUMNS[0], *costs], lines)]
    rows = [[_escaped(column.cell(line)) or NONE for column in columns] for line in lines]
    return _markdown_table([column.title for column in columns], rows)


_BLUE, _GREEN, _VERMILION, _GREY = "#0072B2", "#009E73", "#D55E00", "#666666"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "kdbench",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name may hold a dollar sign
}


def figure(board: pd.DataFrame, plan: Plan) -> Figure:
    """The main picture: a panel per pair, a dot with its 95 % interval per method, lines for teacher and student.

    A row without a rank has a hollow dot. Each panel has its own axis, which need not start at zero.
    """
    with matplotlib.rc_context(STYLE):
        pairs = _by_pair(board, plan)
        across = min(len(pairs), 2)
        down = math.ceil(len(pairs) / across)
        tallest = max(len(lines) for _, lines in pairs)
        size = (7.2 if across == 1 else 4.4 * across, down * (0.85 + 0.25 * tallest) + 0.7)
        drawn = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05), facecolor="white")
        panels = drawn.subplots(down, across, squeeze=False).flatten().tolist()
        for panel, (pair, lines) in zip(panels, pairs, strict=False):
            _draw(panel, _title(pair, plan), lines, plan)
        for panel in panels[len(pairs) :]:
            panel.remove()
        drawn.suptitle(plan.study, fontsize=11, fontweight="bold")
        if keys := _keys(board, plan):
            drawn.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return drawn


def _axis(methods: Sequence[Line]) -> str:
    counts = [line["n"] for line in methods if line["n"]] or [0]
    low, high = min(counts), max(counts)
    shown = "mean and 95 % interval, " if high > 1 else ""
    return f"Top-1 accuracy (%), {shown}n = {low}" + (f" to {high}" if high > low else "")


def _draw(panel: Axes, title: str, lines: Sequence[Line], plan: Plan) -> None:
    methods = [line for line in lines if line["method"] != TEACHER]
    panel.set_title(title, fontsize=9, loc="left")
    panel.set_xlabel(_axis(methods), fontsize=8)
    for line in lines:
        if not line["n"]:
            continue
        if line["method"] == TEACHER:
            panel.axvline(line["acc1"], color=_VERMILION, linestyle="--", linewidth=1, zorder=1)
        elif line["method"] == plan.baseline:
            panel.axvline(line["acc1"], color=_GREEN, linestyle=":", linewidth=1.2, zorder=1)
    panel.set_xlim(*limits(lines))
    for place, line in enumerate(methods):
        _draw_row(panel, place, line, _GREEN if line["method"] == plan.baseline else _BLUE)
    panel.set_yticks(range(len(methods)), [_method(line) for line in methods])
    panel.set_ylim(len(methods) - 0.5, -0.5)
    panel.tick_params(axis="both", labelsize=8)
    panel.tick_params(axis="y", length=0, pad=6)
    panel.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _draw_row(panel: Axes, place: int, line: Line, colour: str) -> None:
    across = panel.get_yaxis_transform()
    if not line["n"]:
        reason = f"0 of {line['planned']} cells finished" if line["planned"] else "not applicable"
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        panel.text(0.01, place, reason, transform=across, va="center_baseline", color=_GREY, fontsize=8, bbox=ground)
        return
    if math.isfinite(line["ci_low"]):
        panel.plot([line["ci_low"], line["ci_high"]], [place, place], color=colour, linewidth=1.5, zorder=2)
    mark_beyond(panel, place, line, colour)
    inside = "white" if _rank(line) == "" else colour
    panel.plot(line["acc1"], place, "o", color=colour, markerfacecolor=inside, markersize=5.5, zorder=3)
    weight = "bold" if is_best(line) else "normal"
    value = plain(line["acc1"], 2)
    panel.text(1.015, place, value, transform=across, va="center_baseline", color=_GREY, fontsize=8, fontweight=weight)


def _keys(board: pd.DataFrame, plan: Plan) -> list[Line2D]:
    drawn = board[board["n"] > 0]
    methods = drawn[drawn["method"] != TEACHER]
    keys = []
    if (drawn["method"] == TEACHER).any():
        keys.append(Line2D([], [], color=_VERMILION, linestyle="--", linewidth=1, label="teacher"))
    if (drawn["method"] == plan.baseline).any():
        keys.append(Line2D([], [], color=_GREEN, linestyle=":", linewidth=1.2, label="student alone"))
    if methods["rank"].isna().any():
        hollow = Line2D([], [], color=_GREY, marker="o", markerfacecolor="white", linestyle="", label="no rank")
        keys.append(hollow)
    pairs = _by_pair(board, plan)
    if any(beyond(line, limits(lines)) for _, lines in pairs for line in lines if line["n"]):
        keys.append(Line2D([], [], color=_GREY, marker="<", linestyle="", label="goes on beyond the axis"))
    return keys
