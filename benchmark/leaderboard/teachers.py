"""Finds the teacher of a pair among the runs of a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.leaderboard.rows import Cells, Row, Run, is_finished, row_from_runs
from benchmark.study.plan import TEACHER, Plan


def teacher_row(cells: Cells, teachers: Sequence[Run], plan: Plan, pair: str) -> Row:
    """Return the row of the network that taught the students of a pair.

    Args:
        cells: The runs of all students; the tag `teacher_id` is the identity of their teacher.
        teachers: The runs of all teachers of the study.
        plan: The plan of the study.
        pair: Name of the pair.

    Raises:
        ValueError: The students had several teachers, or the teacher has several finished runs.
    """
    identity = _teacher_id(cells, plan, pair)
    if identity is None:
        runs = [run for run in teachers if _serves(run, pair)]
    else:
        runs = [run for run in teachers if run["teacher_id"] == identity]

    finished = [run for run in runs if is_finished(run)]
    if len(finished) > 1:
        # A teacher of several pairs may be recorded once for each of them.
        finished = [run for run in finished if _serves(run, pair)] or finished
    if len(finished) > 1:
        names = ", ".join(str(run["run_id"]) for run in finished)
        raise ValueError(
            f"the teacher of {pair} has more than one finished run ({names}): "
            "delete or archive all but one"
        )
    return row_from_runs(TEACHER, {0: finished or runs})


def _serves(run: Run, pair: str) -> bool:
    """Return whether a teacher was recorded for a pair."""
    return pair in str(run["pair"]).split(", ")


def _teacher_id(cells: Cells, plan: Plan, pair: str) -> str | None:
    """Return the identity of the teacher recorded for the students of a pair; None if unclear."""
    taught: list[Run] = []
    alone: list[Run] = []
    for (cell_pair, method, _), runs in cells.items():
        if cell_pair == pair:
            (alone if method == plan.baseline else taught).extend(runs)

    used = _identities(run for run in taught if is_finished(run))
    if len(used) > 1:
        raise ValueError(
            f"the students of {pair} learned from different teachers: {', '.join(used)}"
        )

    # The student alone does not learn from a teacher, so its runs decide only as a last resort.
    for identities in (used, _identities(taught), _identities(alone)):
        if identities:
            return identities[0] if len(identities) == 1 else None
    return None


def _identities(runs: Iterable[Run]) -> list[str]:
    identities = {run["teacher_id"] for run in runs if isinstance(run["teacher_id"], str)}
    return sorted(identities - {""})
