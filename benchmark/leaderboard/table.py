"""Computes the tables of a study from its runs: the leaderboard and the costs.

The tables are pure functions of the runs and the plan: no tracker, no clock and no unseeded
randomness is involved. They are bit-identical for any order of the runs. Accuracies and other
shares are in percent, differences in percentage points; nothing is rounded.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.leaderboard.comparisons import comparison, network_notes, p_values
from benchmark.leaderboard.costs import COMPUTED, EFFORT_COLUMNS, MEASURED, cost_line, effort
from benchmark.leaderboard.environments import environment_notes, usual_environment
from benchmark.leaderboard.published import published_columns
from benchmark.leaderboard.ranking import (
    comparable_mean,
    ranks_of_pair,
    ranks_over_pairs,
    why_unranked,
)
from benchmark.leaderboard.rows import PairRows, Row, method_row, runs_by_cell, runs_of_kind
from benchmark.leaderboard.statistics import interval
from benchmark.leaderboard.teachers import teacher_row
from benchmark.leaderboard.time_limits import time_limit_notes
from benchmark.measures import ACCURACY, Measure, in_groups
from benchmark.study.plan import TEACHER, Plan


def _names(measures: Sequence[Measure]) -> list[str]:
    return [measure.column for measure in measures if measure is not ACCURACY]


COLUMNS = (
    "pair", "method", "rank", "n", "planned", ACCURACY.column, "sd", "ci_low", "ci_high",
    "vs_student", "vs_student_low", "vs_student_high", "gap_closed",
    "vs_untuned", "vs_untuned_low", "vs_untuned_high",
    "vs_kd", "vs_kd_low", "vs_kd_high", "p_student", "p_kd", "significant",
    "mean_rank", "mean_rank_low", "mean_rank_high",
    *_names(in_groups("quality", "size", "compute")), *EFFORT_COLUMNS,
    *_names(in_groups("diagnostic")), "published", "published_source", "published_rule", "note",
)  # fmt: skip
"""Columns of `leaderboard.csv`. In `vs_kd` and `p_kd`, "kd" stands for `Plan.reference`."""

_BEFORE_OWN = _names(in_groups("quality"))[-1]
"""The column that those of a study's own measures follow."""

COST_COLUMNS = ("pair", "method", *_names(MEASURED), *_names(COMPUTED), *EFFORT_COLUMNS)
"""Columns of `costs.csv`."""

TEXT_COLUMNS = ("pair", "method", "significant", "published_source", "published_rule", "note")
_COUNTS = ("n", "planned")
_OPTIONAL_COUNTS = ("rank", "trials")


def leaderboard(runs: pd.DataFrame, plan: Plan, mix_environments: bool = False) -> pd.DataFrame:
    """Return the table of a study: per pair the teacher, then the methods by decreasing accuracy.

    Only finished runs with a finite accuracy count. Every mean is over all runs that count, and is
    NaN if one of them lacks the metric. Standard deviations have ddof 1; intervals of accuracies
    and of differences are Student's t at 95 %.

    Differences are paired: they use the seeds that both rows have. Only rows with equal numbers
    of trials are ranked and compared with each other: a tuned row is compared with the tuned
    student alone and the tuned reference. As an exception, `vs_untuned` compares a tuned row with
    the row of the same method with published settings.

    P values are those of `statistics.sign_flip`, for rows with every planned cell, corrected by
    `statistics.holm` over all tests of a pair; `significant` names the references with p < 0.05.
    The student alone has no `p_kd`, because it would repeat the `p_student` of the reference.
    `mean_rank` is the mean, over pairs, of a row's rank among the rows with a rank on every pair.
    It is the same on each pair, and NaN for a study of one pair.

    `best_minus_last` is a diagnostic on the validation images. `published` is what others report
    for the same networks and a method's published settings; no other column depends on it.

    Args:
        runs: One line per run; columns of metrics that no run has logged may be missing.
        plan: What the study set out to compare.
        mix_environments: Whether to compare runs of one pair even if their fingerprints differ.
            The note of a row then states how many were trained outside the usual one. A run
            without a fingerprint always counts.

    Returns:
        A table with the columns that `columns_of` returns.

    Raises:
        MixedEnvironmentsError: Finished runs of one pair have different fingerprints, and
            `mix_environments` is False.
        ValueError: A cell or a teacher has two finished runs, or the students of a pair learned
            from two teachers.
    """
    pairs = _rows_of_pairs(runs, plan)
    over_pairs = ranks_over_pairs(pairs, plan)

    lines: list[dict[str, Any]] = []
    for rows in pairs:
        usual = usual_environment(rows, mix_environments)
        ranks = ranks_of_pair(rows)
        tests = p_values(rows)

        lines.append(_teacher_line(rows))
        for row in _by_accuracy(rows):
            line = _method_line(row, rows, usual)
            line |= {"rank": ranks[row.method]}
            line |= tests[row.method]
            line |= over_pairs.get(row.method, {})
            lines.append(line)
    return to_frame(lines, columns_of(plan))


def costs(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the costs of a study: per pair the teacher, then the methods in plan order.

    Times and memory are medians over the runs that measured them (ms, seconds, MB). They differ
    between two identical training runs, so they are not in the leaderboard. Computed costs
    (parameters, compute, trials) are the same as in the leaderboard.

    Args:
        runs: As for `leaderboard`.
        plan: As for `leaderboard`.

    Returns:
        A table with the columns `COST_COLUMNS`.

    Raises:
        ValueError: As for `leaderboard`.
    """
    lines = []
    for rows in _rows_of_pairs(runs, plan):
        lines += [cost_line(row, rows) for row in (rows.teacher, *rows.methods.values())]
    return to_frame(lines, COST_COLUMNS)


def columns_of(plan: Plan) -> list[str]:
    """Return `COLUMNS`, with the columns of a study's own measures after the quality measures."""
    position = COLUMNS.index(_BEFORE_OWN) + 1
    own = [measure.column for measure in plan.measures]
    return [*COLUMNS[:position], *own, *COLUMNS[position:]]


def to_frame(lines: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return lines as a table with these columns, each converted to its type."""
    table = pd.DataFrame(lines, columns=list(columns))
    types = dict.fromkeys((name for name in columns if name not in TEXT_COLUMNS), "float64")
    types |= {name: "int64" for name in _COUNTS if name in columns}
    types |= {name: "Int64" for name in _OPTIONAL_COUNTS if name in columns}
    return table.astype(types)


def _rows_of_pairs(runs: pd.DataFrame, plan: Plan) -> list[PairRows]:
    cells = runs_by_cell(runs, plan)
    teachers = runs_of_kind(runs, TEACHER, plan)
    pairs = []
    for pair in plan.pairs:
        methods = {method: method_row(cells, plan, pair, method) for method in plan.methods}
        pairs.append(PairRows(pair, plan, methods, teacher_row(cells, teachers, plan, pair)))
    return pairs


def _by_accuracy(rows: PairRows) -> list[Row]:
    """Return the rows by decreasing mean accuracy, those without a finished run last."""
    return sorted(
        rows.methods.values(), key=lambda row: -comparable_mean(row) if row.n else math.inf
    )


def _teacher_line(rows: PairRows) -> dict[str, Any]:
    teacher = rows.teacher
    line = _line(teacher, rows)
    line["significant"] = ""
    if teacher.failed:
        line["note"] = f"failed: {teacher.failed[0]}"
    elif not teacher.n:
        line["note"] = "the teacher has no finished run with an accuracy"
    else:
        line["note"] = "; ".join(time_limit_notes(teacher))
    return line


def _method_line(row: Row, rows: PairRows, usual_environment: str) -> dict[str, Any]:
    """Return all columns of a method's line except its ranks and p values."""
    line = _line(row, rows)
    accuracies = list(row.accuracies.values())
    if row.n >= 2:
        line["sd"] = statistics.stdev(accuracies)
        line["ci_low"], line["ci_high"] = interval(accuracies)

    columns, comparison_notes = comparison(row, rows)
    line |= columns

    notes = [*_stale_note(row, rows), *network_notes(row, rows.student)]
    notes += why_unranked(row, rows.plan)
    notes += time_limit_notes(row)
    notes += environment_notes(row, usual_environment)
    notes += comparison_notes
    line["note"] = "; ".join(notes)
    return line


def _stale_note(row: Row, rows: PairRows) -> list[str]:
    """Return a note if cells of the row were trained with code that has changed since."""
    modules = rows.plan.stale.get(f"{rows.pair}/{row.method}")
    return [f"stale: trained before {modules} changed"] if modules else []


def _line(row: Row, rows: PairRows) -> dict[str, Any]:
    """Return the columns that teachers and methods share."""
    line: dict[str, Any] = {
        "pair": rows.pair,
        "method": row.method,
        "n": row.n,
        "planned": row.planned,
    }
    in_table = (*in_groups("quality", "size", "compute", "diagnostic"), *rows.plan.measures)
    for measure in in_table:
        line[measure.column] = row.average(measure)
    return line | effort(row, rows) | published_columns(row, rows.plan)
