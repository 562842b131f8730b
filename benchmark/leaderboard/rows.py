"""Runs grouped to the rows of a table: the planned cells of each method on each pair, and the teacher of a pair."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.study.plan import TEACHER, Plan

MEANS = {
    "acc5": "test/acc5",
    "f1": "test/f1",
    "ece": "test/ece",
    "agreement": "test/agreement",
    "params": "cost/params",
    "macs": "cost/macs",
    "compute_tmac": "cost/compute_tmac",
    "best_minus_last": "val/best_minus_last",
}
"""Metrics by column, whose mean a row shows."""

CLOCKED = {
    name: f"cost/{name}"
    for name in (
        "latency_ms",
        "latency_batch64_ms",
        "train_seconds",
        "teacher_seconds",
        "peak_memory_mb",
    )
}
"""Metrics by column that a clock measured."""

Run = dict[Hashable, Any]


@dataclass(frozen=True)
class Row:
    """The planned cells of one method on one pair, by what became of them."""

    method: str
    finished: Mapping[int, Run]
    failed: Mapping[int, str]
    unmeasured: int
    planned: int
    inapplicable: str | None

    @property
    def accuracies(self) -> dict[int, float]:
        """Top-1 accuracy in percent by seed."""
        return {seed: float(run["test/acc1"]) for seed, run in self.finished.items()}

    @property
    def n(self) -> int:
        """Seeds with a finished run and an accuracy."""
        return len(self.finished)


def records(runs: pd.DataFrame, kind: str) -> list[Run]:
    """The runs of a kind by identity, each with all metrics of `MEANS` and `CLOCKED`; NaN for one that none has."""
    if runs.empty:
        return []
    metrics = ("test/acc1", *MEANS.values(), *CLOCKED.values())
    absent: dict[str, Any] = {name: math.nan for name in metrics if name not in runs.columns}
    absent |= {name: "" for name in ("fingerprint",) if name not in runs.columns}
    wanted = runs[runs["kind"] == kind].assign(**absent).astype(dict.fromkeys(metrics, "float64"))
    # Sorted, so that the first reason of several does not depend on the order in which the runs came.
    return sorted(wanted.to_dict("records"), key=lambda run: str(run["run_id"]))


def planned(runs: pd.DataFrame, plan: Plan) -> dict[tuple[str, str, int], list[Run]]:
    """The runs of every planned cell, by pair, method and seed.

    Raises:
        ValueError: two of them are finished.
    """
    cells: dict[tuple[str, str, int], list[Run]] = {
        (pair, method, seed): []
        for pair in plan.pairs
        for method in plan.methods
        for seed in plan.seeds
    }
    for run in records(runs, "run"):
        key = (run["pair"], run["method"], run["seed"])
        if key in cells:
            cells[key].append(run)
    doubles = {
        key: found
        for key, all_ in cells.items()
        if len(found := [r for r in all_ if _is_finished(r)]) > 1
    }
    if doubles:
        named = "; ".join(
            f"{pair}/{method} seed {seed}: runs {', '.join(str(run['run_id']) for run in found)}"
            for (pair, method, seed), found in doubles.items()
        )
        raise ValueError(
            f"more than one finished run for a cell ({named}): delete or archive all but one"
        )
    return cells


def method_row(
    cells: Mapping[tuple[str, str, int], Sequence[Run]], plan: Plan, pair: str, method: str
) -> Row:
    """The row of a method on a pair; `cells` as `planned` gives them."""
    reason = plan.why_not(pair, method)
    if reason is not None:
        return Row(method, {}, {}, 0, 0, reason)
    by_seed = {seed: cells[pair, method, seed] for seed in sorted(plan.seeds)}
    return _from_runs(method, by_seed, len(plan.seeds))


def _from_runs(method: str, by_seed: Mapping[int, Sequence[Run]], planned: int) -> Row:
    finished: dict[int, Run] = {}
    failed: dict[int, str] = {}
    unmeasured = 0
    for seed, runs in by_seed.items():
        done = [run for run in runs if _is_finished(run)]
        broken = [run for run in runs if run["status"] == "FAILED"]
        if done and math.isfinite(done[0]["test/acc1"]):
            finished[seed] = done[0]
        elif done:
            unmeasured += 1
        elif broken:
            failed[seed] = next(filter(None, map(_reason, broken)), "no reason recorded")
    return Row(method, finished, failed, unmeasured, planned, None)


def teacher_row(
    cells: Mapping[tuple[str, str, int], Sequence[Run]],
    teachers: Iterable[Run],
    plan: Plan,
    pair: str,
) -> Row:
    """The row of the network that taught the pair's students, found by its identity.

    Raises:
        ValueError: the pair's students had two teachers, or the teacher has two finished runs.
    """
    identity = _teacher_id(cells, plan, pair)
    own = [
        run
        for run in teachers
        if (_serves(run, pair) if identity is None else run["teacher_id"] == identity)
    ]
    finished = [run for run in own if _is_finished(run)]
    if len(finished) > 1:
        # One teacher can be recorded once for each pair that it serves.
        finished = [run for run in finished if _serves(run, pair)] or finished
    if len(finished) > 1:
        names = ", ".join(str(run["run_id"]) for run in finished)
        raise ValueError(
            f"the teacher of {pair} has more than one finished run ({names}): delete or archive all but one"
        )
    return _from_runs(TEACHER, {0: finished or own}, 1)


def _serves(run: Run, pair: str) -> bool:
    """Whether a pair is among those that a teacher was recorded for."""
    return pair in str(run["pair"]).split(", ")


def _teacher_id(
    cells: Mapping[tuple[str, str, int], Sequence[Run]], plan: Plan, pair: str
) -> str | None:
    # The student alone has no teacher of its own, so it decides only where nothing else does.
    taught = [
        run
        for key, runs in cells.items()
        if key[0] == pair and key[1] != plan.baseline
        for run in runs
    ]
    alone = [
        run
        for key, runs in cells.items()
        if key[0] == pair and key[1] == plan.baseline
        for run in runs
    ]
    used = _identities(run for run in taught if _is_finished(run))
    if len(used) > 1:
        raise ValueError(
            f"the students of {pair} learned from different teachers: {', '.join(used)}"
        )
    known = next(filter(None, (used, _identities(taught), _identities(alone))), [])
    return known[0] if len(known) == 1 else None


def _identities(runs: Iterable[Run]) -> list[str]:
    return sorted({run["teacher_id"] for run in runs if isinstance(run["teacher_id"], str)} - {""})


def _is_finished(run: Run) -> bool:
    return bool(run["status"] == "FINISHED")


def _reason(run: Run) -> str:
    reason = run["reason"]
    return " ".join(reason.split()) if isinstance(reason, str) else ""
