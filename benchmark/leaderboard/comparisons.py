"""Compares the rows of a pair by their paired differences: gains, gap closed, p values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.leaderboard.rows import PairRows, Row
from benchmark.leaderboard.statistics import SIGNIFICANCE, holm, interval, mean, sign_flip
from benchmark.measures import BY_COLUMN
from benchmark.wording import counted

PARAMETERS = BY_COLUMN["params"]

STUDENT_ALONE = "the student alone"
"""How texts refer to the row that trains the student alone with published settings."""


def comparison(row: Row, rows: PairRows) -> tuple[dict[str, float], list[str]]:
    """Compare a row with the student alone, with its untuned row and with the reference.

    Except in `vs_untuned`, only rows with equal numbers of trials are compared: a tuned row is
    compared with the tuned student alone.

    Returns:
        The columns `vs_student`, `vs_untuned` and `vs_kd` with their intervals, and `gap_closed`,
        each if there is a row to compare with; and notes on what the comparisons leave out.
    """
    columns: dict[str, float] = {}
    notes: list[str] = []
    if not row.n:
        return columns, notes

    student = rows.rival(row, rows.plan.baseline)
    if student is not None:
        name = _name(student, rows)
        gains = paired_gains(row, student)
        columns |= _difference("vs_student", gains)
        columns["gap_closed"], gap_notes = _gap_closed(gains, row, student, rows.teacher, name)
        notes += _pairing_notes(gains, row, name) + gap_notes

    untuned = rows.untuned(row)
    if untuned is not None:
        gains = paired_gains(row, untuned)
        columns |= _difference("vs_untuned", gains)
        notes += _pairing_notes(gains, row, _name(untuned, rows))

    reference = rows.rival(row, rows.plan.reference)
    if reference is not None:
        gains = paired_gains(row, reference)
        columns |= _difference("vs_kd", gains)
        # If the reference is itself compared with this row, its own row already has this note.
        if rows.rival(reference, rows.plan.baseline) is not row:
            notes += _pairing_notes(gains, row, reference.method)

    return columns, notes


def p_values(rows: PairRows) -> dict[str, dict[str, Any]]:
    """Return the columns `p_student`, `p_kd` and `significant` of every method.

    Holm's correction covers both comparisons and all rows of the pair.
    """
    references = {"student": rows.plan.baseline, "kd": rows.plan.reference}
    tests = [(row, name) for name in references for row in rows.methods.values()]
    corrected = holm([_p_value(row, references[name], rows) for row, name in tests])

    columns: dict[str, dict[str, Any]] = {method: {} for method in rows.methods}
    significant: dict[str, list[str]] = {method: [] for method in rows.methods}
    for (row, name), p in zip(tests, corrected.tolist(), strict=True):
        columns[row.method][f"p_{name}"] = p
        if p < SIGNIFICANCE:
            significant[row.method].append(name)

    for method, names in significant.items():
        columns[method]["significant"] = "; ".join(names)
    return columns


def paired_gains(row: Row, other: Row) -> list[float]:
    """Return a row's accuracy minus another's, in percentage points, for every shared seed."""
    own = row.accuracies
    others = other.accuracies
    return [own[seed] - others[seed] for seed in own if seed in others]


def network_notes(row: Row, student: Row | None) -> list[str]:
    """Return a note if a row's network at inference differs from the student alone's."""
    if student is None:
        return []

    own = row.average(PARAMETERS)
    alone = student.average(PARAMETERS)
    if own == alone or not math.isfinite(own - alone):
        return []
    return [
        "the network at inference is not the bare student: "
        "it has a different number of parameters from the student alone"
    ]


def _p_value(row: Row, reference: str | None, rows: PairRows) -> float:
    """Return the p value of a row against a reference before correction; NaN if no test applies."""
    rival = rows.rival(row, reference)
    if rival is None or not row.n == row.planned == rival.n > 1:
        return math.nan

    # Testing the student alone against the reference would repeat the reference's own test.
    is_reference = reference == rows.plan.reference
    if is_reference and rows.rival(rival, rows.plan.baseline) is row:
        return math.nan
    return float(sign_flip(paired_gains(row, rival)))


def _name(row: Row, rows: PairRows) -> str:
    return STUDENT_ALONE if row is rows.student else row.method


def _difference(column: str, gains: Sequence[float]) -> Mapping[str, float]:
    low, high = interval(gains)
    return {column: mean(gains), f"{column}_low": low, f"{column}_high": high}


def _pairing_notes(gains: Sequence[float], row: Row, name: str) -> list[str]:
    if len(gains) == row.n:
        return []
    return [f"paired with {name} on {len(gains)} of {counted(row.n, 'seed')}"]


def _gap_closed(
    gains: Sequence[float], row: Row, student: Row, teacher: Row, name: str
) -> tuple[float, list[str]]:
    """Return how much of the gap to the teacher a row closes, in percent, and notes."""
    shared = [accuracy for seed, accuracy in student.accuracies.items() if seed in row.accuracies]
    if not shared or not teacher.n:
        return math.nan, []

    gap = teacher.accuracies[0] - mean(shared)
    if round(gap, 9) <= 0:
        return math.nan, [f"the teacher is not better than {name}: no gap to close"]
    return 100 * mean(gains) / gap, []
