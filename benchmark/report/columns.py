"""What is shown of a table, wherever it is shown: its columns, the rounded text of each cell, its lines and notes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.leaderboard.rounding import plain, signed
from benchmark.leaderboard.statistics import SIGN_FLIP_SEEDS, SIGNIFICANCE
from benchmark.study.plan import TEACHER, Plan

NOTE_WIDTH = 240
"""Characters of a note that a page shows; the CSV keeps all of them."""

NONE = "-"

WORDS = ("Method", "Pair")
"""Columns of names; the others hold numbers."""

NAME_LETTERS = 22
"""Letters of a name that stand in one line; longer names take several where there is no room."""

Line = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Column:
    """A column of a printed table; `cell` returns "" where the line has nothing to say."""

    title: str
    cell: Callable[[Line], str]
    short: str = ""
    """The title in a terminal that has no room for the whole one."""


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
        _shown(pair_title(pair, plan), filled(BOARD, lines), lines, row_notes(lines))
        for pair, lines in lines_by_pair(board, plan)
    ]


def ranks_over_pairs(board: pd.DataFrame, plan: Plan) -> list[Shown]:
    """The table of mean ranks, if any row has one."""
    ranked = over_pairs(board, plan)
    return [_shown(OVER_PAIRS_TITLE, filled(OVER_PAIRS, ranked), ranked)] if ranked else []


def counted(board: pd.DataFrame, plan: Plan) -> Shown:
    """The costs by counting, of all pairs."""
    return _shown_costs("Costs by counting", board, plan, COUNTED_PAGE)


def clocked(costs: pd.DataFrame, plan: Plan) -> Shown:
    """The costs by the clock, of all pairs."""
    return _shown_costs("Costs by the clock", costs, plan, CLOCKED)


def _shown_costs(title: str, table: pd.DataFrame, plan: Plan, costs: Sequence[Column]) -> Shown:
    lines = [line for _, of_pair in cost_lines(table, plan, costs) for line in of_pair]
    pair = Column("Pair", lambda line: str(line["pair"]))
    return _shown(title, [pair, *filled([COLUMNS[0], *costs], lines)], lines)


def _shown(
    title: str, columns: Sequence[Column], lines: Sequence[Line], notes: Sequence[str] = ()
) -> Shown:
    cells = tuple(tuple(column.cell(line) or NONE for column in columns) for line in lines)
    return Shown(
        title, tuple(column.title for column in columns), tuple(lines), cells, tuple(notes)
    )


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
        return signed(value, 2) + (
            f" [{plain(low, 2)}, {plain(high, 2)}]" if math.isfinite(low) else ""
        )

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


COLUMNS = (
    Column("Method", _method),
    Column("n", _n),
    Column("Top-1 (%)", _mean),
    Column("95 % interval", _interval),
    Column("vs student", _difference("vs_student")),
    Column("p student", _p("student")),
    Column("vs untuned", _difference("vs_untuned")),
    Column("vs kd", _difference("vs_kd")),
    Column("p kd", _p("kd")),
    Column("gap closed", _number("gap_closed", 0, "%"), short="gap"),
    Column("Top-5", _number("acc5", 2)),
    Column("F1", _number("f1", 1)),
    Column("ECE", _number("ece", 1)),
    Column("agree", _number("agreement", 1)),
    Column("published", _number("published", 2)),
    Column("params", _count("params")),
    Column("MACs", _count("macs")),
    Column("rank", _rank),
)
"""The columns of a terminal, as far as its width allows."""

_COMPUTE = Column("compute (TMAC)", _three_digits("compute_tmac"), short="TMAC")

BOARD = (*COLUMNS[:-1], _COMPUTE, COLUMNS[-1])
"""The columns of a page, where width is no matter."""

COUNTED = (
    Column("params", _count("params")),
    _COMPUTE,
    Column("x student alone", _three_digits("compute_factor"), short="x student"),
    Column("trials", _trials),
    Column("search (TMAC)", _three_digits("search_tmac"), short="search"),
)
"""Costs that are counted."""

COUNTED_PAGE = (*COUNTED, Column("val best - last", _number("best_minus_last", 2)))
"""What a page shows beside the costs: a diagnostic, for which a terminal has no room."""

CLOCKED = (
    Column("latency (ms)", _three_digits("latency_ms"), short="ms"),
    Column("latency of 64 (ms)", _three_digits("latency_batch64_ms"), short="ms of 64"),
    Column("training (s)", _three_digits("train_seconds"), short="train (s)"),
    Column("teacher (s)", _three_digits("teacher_seconds")),
    Column("peak memory (MB)", _three_digits("peak_memory_mb"), short="peak (MB)"),
)
"""Costs that a clock measured."""

OVER_PAIRS = (Column("Method", _method), Column("mean rank", _mean_rank), Column("trials", _trials))
OVER_PAIRS_TITLE = "Mean rank over pairs"


def filled(columns: Iterable[Column], lines: Sequence[Line]) -> list[Column]:
    """The columns in which any line has something to say."""
    return [column for column in columns if any(column.cell(line) for line in lines)]


def lines_by_pair(board: pd.DataFrame, plan: Plan) -> list[tuple[str, list[Line]]]:
    """The lines of each pair: pairs in the plan's order, lines in the table's."""
    lines: list[Line] = [*board.to_dict("records")]
    return [(pair, [line for line in lines if line["pair"] == pair]) for pair in plan.pairs]


def pair_title(pair: str, plan: Plan) -> str:
    """What stands above the table of a pair."""
    dataset = plan.datasets.get(pair)
    return f"{pair}, {dataset}" if dataset else pair


def row_notes(lines: Sequence[Line]) -> list[str]:
    """The notes of the rows, each once, after the names of the rows that it is about."""
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line["note"]:
            rows.setdefault(line["note"], []).append(str(line["method"]))
    return [
        f"{', '.join(names)}: {textwrap.shorten(note, NOTE_WIDTH)}" for note, names in rows.items()
    ]


def over_pairs(board: pd.DataFrame, plan: Plan) -> list[Line]:
    """A line for each method with a mean rank, best first, apart by number of trials."""
    of_pair: list[Line] = [*board[board["pair"] == plan.pairs[0]].to_dict("records")]
    ranked = [line for line in of_pair if math.isfinite(line["mean_rank"])]
    return sorted(
        ranked,
        key=lambda line: (line["trials"], line["mean_rank"], plan.methods.index(line["method"])),
    )


def is_best(line: Line) -> bool:
    """Whether no ranked row with an equal budget has a higher mean."""
    return not pd.isna(line["rank"]) and bool(line["rank"] == 1)


def is_bold(title: str, line: Line) -> bool:
    """Whether a cell shows the highest mean among ranked rows with an equal budget."""
    return title == "Top-1 (%)" and is_best(line)


def cost_lines(
    table: pd.DataFrame, plan: Plan, columns: Sequence[Column]
) -> list[tuple[str, list[Line]]]:
    """Per pair the rows that cost something by these columns, the teacher and then in the plan's order."""
    order = {name: place for place, name in enumerate((TEACHER, *plan.methods))}
    by_pair = lines_by_pair(table, plan)
    pairs = [
        (pair, sorted(lines, key=lambda line: order[line["method"]])) for pair, lines in by_pair
    ]
    return [(pair, [line for line in lines if filled(columns, [line])]) for pair, lines in pairs]
