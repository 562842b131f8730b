"""The costs of a row: size and compute, the search for its settings, times and memory."""

from __future__ import annotations

import math
from typing import Any

from benchmark.leaderboard.rows import PairRows, Row
from benchmark.measures import BY_COLUMN, MEASURES, in_groups
from benchmark.study.plan import TEACHER

COMPUTED = tuple(measure for measure in MEASURES if measure.in_costs)
"""Costs determined by the networks and the recipe. They are in the leaderboard as well."""

MEASURED = in_groups("measured")
"""Times and memory, which differ between two identical training runs."""

COMPUTE = BY_COLUMN["compute_tmac"]

EFFORT_COLUMNS = ("compute_factor", "trials", "search_tmac")


def effort(row: Row, rows: PairRows) -> dict[str, Any]:
    """Return the columns `EFFORT_COLUMNS` of a row.

    These columns contain the row's compute as a multiple of the student alone's, and the number of
    trials and the compute of the search for its settings.
    """
    student = rows.student
    alone = math.nan if student is None else student.average(COMPUTE)
    plan = rows.plan
    return {
        "compute_factor": row.average(COMPUTE) / alone if alone > 0 else math.nan,
        "trials": None if row.method == TEACHER else plan.trials.get(row.method, 0),
        "search_tmac": plan.search_tmac.get(f"{rows.pair}/{row.method}", math.nan),
    }


def cost_line(row: Row, rows: PairRows) -> dict[str, Any]:
    """Return the line of a row in the table of costs."""
    line: dict[str, Any] = {"pair": rows.pair, "method": row.method}
    for measure in (*MEASURED, *COMPUTED):
        line[measure.column] = row.average(measure)
    return line | effort(row, rows)
