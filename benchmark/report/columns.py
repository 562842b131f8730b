"""The columns of printed tables: their titles, the texts of their cells, and their sort values."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.ticker import EngFormatter

from benchmark.leaderboard.rounding import plain, signed
from benchmark.leaderboard.statistics import SIGN_FLIP_SEEDS, SIGNIFICANCE
from benchmark.measures import BY_COLUMN, MEASURES, Measure
from benchmark.study.plan import Plan

NONE = "-"
"""Text of an empty cell."""

ALWAYS = 100
"""Importance of columns that no table omits."""

Line = Mapping[Hashable, Any]
"""A line of the results: values by column of `leaderboard.csv` or `costs.csv`."""


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Attributes:
        name: Column of the results to show; the table sorts by its exact values.
        title: Header.
        cell: Returns the rounded text for a line; empty if the line has no value.
        short: Header for narrow tables; the title if empty.
        importance: A narrow table omits the columns of the lowest importance first.
    """

    name: str
    title: str
    cell: Callable[[Line], str]
    short: str = ""
    importance: int = ALWAYS

    @property
    def heading(self) -> str:
        """Header for narrow tables."""
        return self.short or self.title

    @property
    def is_text(self) -> bool:
        """Whether the cells are names rather than numbers."""
        return self.name in ("pair", "method")


def three_digits(value: float) -> str:
    """Return a number with three significant digits, or as an integer from 100 upwards."""
    if value <= 0:
        return plain(value, 0)

    return plain(value, max(0, 2 - math.floor(math.log10(value))))


def short_count(value: float) -> str:
    """Return a count with three digits and an SI prefix: 272474 -> 272k."""
    rounded = float(f"{value:.3g}")
    if rounded < 1000:
        return plain(value, 0)

    exponent = math.floor(math.log10(rounded))
    return EngFormatter(places=2 - exponent % 3, sep="")(rounded)


def measured_text(value: float, measure: Measure) -> str:
    """Return the value of a measure as text, without its unit."""
    if measure.style == "count":
        return short_count(value)
    if measure.style == "significant":
        return three_digits(value)
    return plain(value, measure.digits)


_DIGITS = BY_COLUMN["acc1"].digits
"""Decimals of accuracies, their spread and their differences."""


def _method(line: Line) -> str:
    return str(line["method"])


def _pair(line: Line) -> str:
    return str(line["pair"])


def _seeds(line: Line) -> str:
    if not line["planned"]:
        return ""
    if line["n"] == line["planned"]:
        return str(line["n"])
    return f"{line['n']}/{line['planned']}"


def _accuracy(line: Line) -> str:
    if not line["n"]:
        return ""

    mean = plain(line["acc1"], _DIGITS)
    if not math.isfinite(line["sd"]):
        return mean
    return f"{mean} ± {plain(line['sd'], _DIGITS)}"


def _bracketed(low: float, high: float) -> str:
    return f"[{plain(low, _DIGITS)}, {plain(high, _DIGITS)}]"


def _interval(line: Line) -> str:
    if not math.isfinite(line["ci_low"]):
        return ""
    return _bracketed(line["ci_low"], line["ci_high"])


def _difference(name: str) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        if not math.isfinite(line[name]):
            return ""

        difference = signed(line[name], _DIGITS)
        low, high = line[f"{name}_low"], line[f"{name}_high"]
        return f"{difference} {_bracketed(low, high)}" if math.isfinite(low) else difference

    return cell


def _p_value(name: str) -> Callable[[Line], str]:
    """Return a function that formats a p value, as empty text if there are too few seeds."""

    def cell(line: Line) -> str:
        p = line[name]
        if not math.isfinite(p) or line["n"] < SIGN_FLIP_SEEDS:
            return ""

        text = "<0.001" if p < 0.001 else plain(p, 3)
        return f"{text} †" if p < SIGNIFICANCE else text

    return cell


def _mean_rank(line: Line) -> str:
    if not math.isfinite(line["mean_rank"]):
        return ""

    interval = _bracketed(line["mean_rank_low"], line["mean_rank_high"])
    return f"{plain(line['mean_rank'], 2)} {interval}"


def _rank(line: Line) -> str:
    """Return the rank among rows with equal budgets: `2`, or `tuned 2` for a tuned row."""
    if pd.isna(line["rank"]):
        return ""
    return f"tuned {line['rank']}" if line["trials"] else str(line["rank"])


def _trials(line: Line) -> str:
    return "" if pd.isna(line["trials"]) or not line["trials"] else str(line["trials"])


def _gap_closed(line: Line) -> str:
    return f"{plain(line['gap_closed'], 0)}%" if math.isfinite(line["gap_closed"]) else ""


def _number(name: str, text: Callable[[float], str]) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        return text(line[name]) if math.isfinite(line[name]) else ""

    return cell


def _of_measure(measure: Measure) -> Column:
    """Return the column of a measure that is shown only as its average."""
    cell = _number(measure.column, lambda value: measured_text(value, measure))
    return Column(measure.column, measure.title, cell, measure.short, measure.importance)


def _of_group(group: str) -> tuple[Column, ...]:
    return tuple(_of_measure(measure) for measure in MEASURES if measure.group == group)


PAIR = Column("pair", "Pair", _pair)
METHOD = Column("method", "Method", _method)
ACCURACY = Column("acc1", BY_COLUMN["acc1"].title, _accuracy)
MEAN_RANK = Column("mean_rank", "Mean rank", _mean_rank)
RANK = Column("rank", "Rank", _rank)
TRIALS = Column("trials", "Trials", _trials, importance=15)

_COMPARISONS = (
    Column("ci_low", "95 % interval", _interval, importance=38),
    Column("vs_student", "vs student", _difference("vs_student"), importance=60),
    Column("p_student", "p vs student", _p_value("p_student"), short="p student", importance=55),
    Column("vs_untuned", "vs untuned", _difference("vs_untuned"), importance=45),
    Column("vs_kd", "vs kd", _difference("vs_kd"), importance=24),
    Column("p_kd", "p vs kd", _p_value("p_kd"), short="p kd", importance=50),
    Column("gap_closed", "Gap closed", _gap_closed, short="Gap", importance=40),
)

_PUBLISHED = Column(
    "published",
    "Published",
    _number("published", lambda value: plain(value, _DIGITS)),
    importance=25,
)

TERMINAL = (
    METHOD,
    Column("n", "n", _seeds),
    ACCURACY,
    *_COMPARISONS,
    *(column for column in _of_group("quality") if column.name != "acc1"),
    _PUBLISHED,
    *_of_group("size"),
    RANK,
)
"""Columns of the results of a pair in a terminal, as far as its width allows."""

PAGE = (*TERMINAL[:-1], *_of_group("compute"), RANK)
"""Columns of the results of a pair on a page."""


def with_own(columns: Sequence[Column], plan: Plan) -> list[Column]:
    """Return the columns of a pair's results with those of the study's own measures.

    Args:
        columns: `TERMINAL` or `PAGE`.
        plan: The study's plan.
    """
    position = columns.index(_PUBLISHED)
    own = [_of_measure(measure) for measure in plan.measures]
    return [*columns[:position], *own, *columns[position:]]


COMPUTED = (
    _of_measure(BY_COLUMN["params"]),
    *_of_group("compute"),
    Column(
        "compute_factor",
        "x student-only",
        _number("compute_factor", three_digits),
        short="x student",
        importance=16,
    ),
    TRIALS,
    Column(
        "search_tmac",
        "Search compute (TMAC)",
        _number("search_tmac", three_digits),
        short="Search",
        importance=14,
    ),
)
"""Computed costs, which are equal in every training run."""

MEASURED = _of_group("measured")
"""Costs measured during training, which depend on the machine and its load."""

DIAGNOSTICS = _of_group("diagnostic")

OVER_PAIRS = (METHOD, MEAN_RANK, TRIALS)
"""Columns of the ranks over all pairs."""
