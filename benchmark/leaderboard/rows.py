"""Groups the runs of a study into the rows of a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.leaderboard.statistics import mean
from benchmark.measures import ACCURACY, MEASURES, Measure
from benchmark.study.plan import Plan

Run = dict[Hashable, Any]
"""The tags and metrics of a run, by column."""

Cells = Mapping[tuple[str, str, int], Sequence[Run]]
"""The runs of every planned cell, by pair, method and seed."""


@dataclass(frozen=True)
class Row:
    """The planned cells of a method on a pair, or the teacher of a pair.

    Attributes:
        method: Name of the row.
        finished: Finished runs that have an accuracy, by seed.
        failed: Reasons why cells failed, by seed.
        unmeasured: Number of finished cells without a finite accuracy.
        planned: Number of planned cells.
        inapplicable: Why the method cannot run on the pair; None if it can.
    """

    method: str
    finished: Mapping[int, Run]
    failed: Mapping[int, str]
    unmeasured: int
    planned: int
    inapplicable: str | None

    @property
    def accuracies(self) -> dict[int, float]:
        """Top-1 accuracy in percent, by seed."""
        return {seed: float(run[ACCURACY.key]) for seed, run in self.finished.items()}

    @property
    def n(self) -> int:
        """Number of seeds whose run finished with an accuracy."""
        return len(self.finished)

    def average(self, measure: Measure) -> float:
        """Return the average of a measure over the finished runs.

        A mean is NaN if any run lacks the metric. A median is taken over the runs that have it.
        """
        values = [float(run[measure.key]) for run in self.finished.values()]
        if measure.average == "mean":
            return mean(values)

        finite = [value for value in values if math.isfinite(value)]
        return statistics.median(finite) if finite else math.nan


@dataclass(frozen=True)
class PairRows:
    """All rows of one pair.

    Attributes:
        pair: Name of the pair.
        plan: The plan of the study.
        methods: Rows by method, in the order of the plan.
        teacher: The teacher's row.
    """

    pair: str
    plan: Plan
    methods: Mapping[str, Row]
    teacher: Row

    @property
    def student(self) -> Row | None:
        """The student-only row with published settings."""
        return self._get(self.plan.baseline)

    def rival(self, row: Row, reference: str | None) -> Row | None:
        """Return the row that `row` is compared with; see `Plan.rival`."""
        return self._get(self.plan.rival(row.method, reference))

    def untuned(self, row: Row) -> Row | None:
        """Return the row with published settings that corresponds to a tuned row."""
        return self._get(self.plan.published(row.method))

    def _get(self, method: str | None) -> Row | None:
        return None if method is None else self.methods.get(method)


def runs_of_kind(runs: pd.DataFrame, kind: str, plan: Plan) -> list[Run]:
    """Return the runs of one kind, sorted by run id.

    Args:
        runs: All runs; columns for metrics that no run logged may be missing.
        kind: `run` for students, `teacher` for teachers.
        plan: The plan, which may have measures of its own.

    Returns:
        Runs with every metric of `MEASURES` and of the plan; NaN where a metric is missing.
    """
    if runs.empty:
        return []

    selected = runs[runs["kind"] == kind].to_dict("records")
    # Sorted so that the choice among several failure reasons does not depend on the input order.
    measures = (*MEASURES, *plan.measures)
    complete = (_complete(record, measures) for record in selected)
    return sorted(complete, key=lambda run: str(run["run_id"]))


def _complete(record: Mapping[Hashable, Any], measures: Sequence[Measure]) -> Run:
    """Return a run with a number for every metric, and with a fingerprint."""
    values = {measure.key: record.get(measure.key) for measure in measures}
    run: Run = {"fingerprint": "", **record}
    for key, value in values.items():
        run[key] = math.nan if value is None else float(value)
    return run


def runs_by_cell(runs: pd.DataFrame, plan: Plan) -> Cells:
    """Return the runs of every planned cell.

    Raises:
        ValueError: A cell has two finished runs.
    """
    cells: dict[tuple[str, str, int], list[Run]] = {
        (pair, method, seed): []
        for pair in plan.pairs
        for method in plan.methods
        for seed in plan.seeds
    }
    for run in runs_of_kind(runs, "run", plan):
        cell = (run["pair"], run["method"], run["seed"])
        if cell in cells:
            cells[cell].append(run)

    _refuse_duplicates(cells)
    return cells


def _refuse_duplicates(cells: Cells) -> None:
    duplicates = []
    for (pair, method, seed), runs in cells.items():
        finished = [run for run in runs if is_finished(run)]
        if len(finished) > 1:
            names = ", ".join(str(run["run_id"]) for run in finished)
            duplicates.append(f"{pair}/{method} seed {seed}: runs {names}")

    if duplicates:
        raise ValueError(
            f"cells with more than one finished run ({'; '.join(duplicates)}): "
            "delete or archive all but one"
        )


def method_row(cells: Cells, plan: Plan, pair: str, method: str) -> Row:
    """Return the row of a method on a pair."""
    reason = plan.why_not(pair, method)
    if reason is not None:
        return Row(method, {}, {}, 0, 0, reason)

    by_seed = {seed: cells[pair, method, seed] for seed in sorted(plan.seeds)}
    return row_from_runs(method, by_seed)


def row_from_runs(method: str, by_seed: Mapping[int, Sequence[Run]]) -> Row:
    """Build a row from the runs of its planned cells."""
    finished: dict[int, Run] = {}
    failed: dict[int, str] = {}
    unmeasured = 0

    for seed, runs in by_seed.items():
        done = [run for run in runs if is_finished(run)]
        broken = [run for run in runs if run["status"] == "FAILED"]
        if done and math.isfinite(done[0][ACCURACY.key]):
            finished[seed] = done[0]
        elif done:
            unmeasured += 1
        elif broken:
            reasons = filter(None, map(_reason, broken))
            failed[seed] = next(reasons, "no reason recorded")

    return Row(method, finished, failed, unmeasured, len(by_seed), None)


def is_finished(run: Run) -> bool:
    """Return whether a run has finished."""
    return bool(run["status"] == "FINISHED")


def _reason(run: Run) -> str:
    reason = run["reason"]
    return " ".join(reason.split()) if isinstance(reason, str) else ""
