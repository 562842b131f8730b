"""From the runs of a study to its leaderboard: means, spread, paired differences, p values and ranks, as tables.

Pure functions of a table of runs and the study's plan: no tracker, no clock, no chance that is not seeded. The order of
the runs changes no bit of the result. Accuracy-like values are in percent, differences in percentage points; nothing is
rounded.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from scipy import stats

from benchmark import published
from benchmark.found import SUFFIX
from benchmark.statistics import (
    EXACT_SEEDS,
    FLIPS,
    FRIEDMAN_METHODS,
    FRIEDMAN_PAIRS,
    RANK_PAIRS,
    SIGNIFICANCE,
    critical_difference,
    friedman,
    holm,
    mean_ranks,
    sign_flip,
    smallest_p,
)

TEACHER = "teacher"
"""Row name of the teacher."""

KD = "kd"
"""Row name of plain distillation, which every other method is compared with where a study has it."""

MIN_SEEDS = 3
"""A row with fewer finished seeds has no rank."""

SIGN_FLIP_SEEDS = 6
"""With fewer seeds the smallest two-sided p of an exact sign-flip test, 2/2^n, is above 0.05."""

CONFIDENCE = 0.95

COLUMNS = (
    "pair", "method", "rank", "n", "planned", "acc1", "sd", "ci_low", "ci_high",
    "vs_student", "vs_student_low", "vs_student_high", "gap_closed",
    "vs_published", "vs_published_low", "vs_published_high",
    "vs_kd", "vs_kd_low", "vs_kd_high", "p_student", "p_kd", "significant",
    "mean_rank", "mean_rank_low", "mean_rank_high",
    "acc5", "f1", "ece", "agreement", "params", "macs", "compute_tmac", "compute_factor", "trials", "search_tmac",
    "best_minus_last", "published", "published_source", "published_rule", "note",
)  # fmt: skip
COST_COLUMNS = (
    "pair", "method", "latency_ms", "train_seconds", "teacher_seconds", "peak_memory_mb",
    "params", "compute_tmac", "compute_factor", "trials", "search_tmac",
)  # fmt: skip

_MEANS = {
    "acc5": "test/acc5",
    "f1": "test/f1",
    "ece": "test/ece",
    "agreement": "test/agreement",
    "params": "cost/params",
    "macs": "cost/macs",
    "compute_tmac": "cost/compute_tmac",
    "best_minus_last": "val/best_minus_last",
}
_CLOCKED = {name: f"cost/{name}" for name in ("latency_ms", "train_seconds", "teacher_seconds", "peak_memory_mb")}
_TEXTS = ("pair", "method", "significant", "published_source", "published_rule", "note")
_COUNTS, _MISSABLE_COUNTS = ("n", "planned"), ("rank", "trials")

Run = dict[Hashable, Any]


class MixedEnvironmentsError(ValueError):
    """The runs of one pair were made in environments that differ in more than speed."""


@dataclass(frozen=True)
class Plan:
    """What the study set out to compare: the rows and seeds that its leaderboard must hold.

    `methods` are row names in the study's order; `baseline` is the one that trains the student alone. `not_applicable`
    maps "pair/method" to a reason. `datasets` maps a pair to its data set, for titles only.
    `protocol` is `legacy` where no images were held out for validation. `trials` maps a method to the number of trials
    that its settings were searched with; one that it lacks has published settings. `search_tmac` maps "pair/method" to
    the compute of that search, where it is known. `altered` names rows whose settings the study's author changed, or
    that bear the name of another method: they have no published accuracy.

    Raises:
        ValueError: pairs, methods or seeds are empty or hold one twice, a method is named like the teacher's row,
            `select` is unknown, or `baseline` is not among `methods`.
    """

    study: str
    question: str
    pairs: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    select: str
    baseline: str | None
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "validated"
    trials: Mapping[str, int] = field(default_factory=dict)
    search_tmac: Mapping[str, float] = field(default_factory=dict)
    altered: Sequence[str] = ()

    def __post_init__(self) -> None:
        named: dict[str, tuple[Any, ...]] = {"pairs": self.pairs, "methods": self.methods, "seeds": self.seeds}
        for name, values in named.items():
            if not values:
                raise ValueError(f"study {self.study!r} has no {name}")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} of study {self.study!r} holds a value twice: {values}")
        if self.select not in ("last", "best_val"):
            raise ValueError(f"select must be 'last' or 'best_val', not {self.select!r}")
        if TEACHER in self.methods:
            raise ValueError(f"{TEACHER!r} is the name of the teacher's row: no method of a study can have it")
        if self.baseline is not None and self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is not among the methods {self.methods}")

    def why_not(self, pair: str, method: str) -> str | None:
        """The reason why `method` cannot run on `pair`, or None where it can."""
        return self.not_applicable.get(f"{pair}/{method}")

    @property
    def budgets(self) -> list[int]:
        """The numbers of trials that rows were tuned with, highest first; empty where all settings are published."""
        return sorted({count for count in self.trials.values() if count}, reverse=True)

    @property
    def unequal(self) -> str:
        """Why no tuned row has a rank, where they were tuned with unequal effort; else empty."""
        if len(self.budgets) < 2:
            return ""
        counts = ", ".join(map(str, self.budgets))
        return f"rows were tuned with different numbers of trials ({counts}); they are not ranked"

    def published(self, method: str) -> str | None:
        """The row with published settings that a tuned row belongs to; None for other rows, or if there is none."""
        name = method.removesuffix(SUFFIX)
        return name if name != method and self.trials.get(method) and name in self.methods else None

    def rival(self, method: str, reference: str | None) -> str | None:
        """The row that a method is tested against: the reference, or its tuned row, that took equally many trials.

        None if there is none, or if the method is the reference itself, tuned or not.
        """
        name = (reference or "").removesuffix(SUFFIX)
        if method.removesuffix(SUFFIX) == name:
            return None
        equal = self.trials.get(method, 0)
        rows = (row for row in (name, name + SUFFIX) if row in self.methods and self.trials.get(row, 0) == equal)
        return next(rows, None)


@dataclass(frozen=True)
class _Row:
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
        return len(self.finished)


def leaderboard(runs: pd.DataFrame, plan: Plan, mix_environments: bool = False) -> pd.DataFrame:
    """The table of a study: per pair the teacher, then every planned method by falling mean accuracy.

    `runs` has one row per run; metric columns that no run has logged may be missing. Only finished runs with a finite
    `test/acc1` count. Every mean is over all runs that count, and NaN where one of them lacks the metric. The result
    has the columns `COLUMNS`; `sd` has ddof 1, intervals are Student's t at 95 %, `vs_student` and `gap_closed` use
    the seeds that the row shares with the student alone, `vs_published` those that a tuned row shares with the row of
    the same method with published settings. Ranks are given among rows with equal `trials`. `compute_factor` is
    compute as a multiple of the student alone's. `best_minus_last` is a diagnostic on the validation
    images.

    `vs_kd` and both p values compare rows with equal `trials`: a tuned row meets the tuned student alone and the tuned
    `kd`. P values are those of `statistics.sign_flip` for rows with every planned cell, corrected by `statistics.holm`
    over the rows of a pair; `significant` names the references with p < 0.05. The student alone has no `p_kd`: it is
    the `p_student` of `kd`. `mean_rank` is over pairs, among the rows with equal `trials` that have a rank on every
    pair, and the same in each; NaN under `RANK_PAIRS`.

    `published` is what others found with the same networks and a method's published settings, with its source and the
    rule by which they chose the epoch; no other column depends on it.

    mix_environments: compare runs of one pair although their `fingerprint` differs; the note of a row tells how many
    were made elsewhere than most. A run without one is not compared by it.

    Raises:
        MixedEnvironmentsError: finished runs of one pair have different fingerprints.
        ValueError: two finished runs for one cell or one teacher, or runs of one pair that learned from two teachers.
    """
    cells, teachers = _planned(runs, plan), _records(runs, TEACHER)
    lines: list[dict[str, Any]] = []
    table = {pair: {method: _row(cells, plan, pair, method) for method in plan.methods} for pair in plan.pairs}
    over_pairs = _mean_ranks(table, plan)
    for pair, rows in table.items():
        usual = _usual_environment(pair, rows, mix_environments)
        teacher, student = _teacher(cells, teachers, plan, pair), rows.get(plan.baseline or "")
        measured = [(row, _measure(row, rows, teacher, plan, usual)) for row in rows.values()]
        tests = _tests(rows, plan)
        for (row, line), rank in zip(measured, _ranks(list(rows.values()), plan), strict=True):
            line |= {"rank": rank, **tests[row.method], **over_pairs.get(row.method, {})}
        measured.sort(key=lambda entry: -_comparable(entry[0]) if entry[0].n else math.inf)
        for row, line in [(teacher, _teacher_line(teacher)), *measured]:
            lines.append({"pair": pair, **line, **_counted(row, student, plan, pair), **_published(row, plan)})
    return _table(lines, COLUMNS)


def costs(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Costs of the same runs: `COST_COLUMNS`, per pair the teacher, then the methods in plan order.

    What a clock measured is the mean over the finished runs that measured it (ms, seconds, MB), NaN where none did.
    These numbers differ between two identical trainings, so they stand apart from the leaderboard. Those that are
    counted (parameters, compute, trials) are the leaderboard's.

    Raises:
        ValueError: as `leaderboard`.
    """
    cells, teachers = _planned(runs, plan), _records(runs, TEACHER)
    lines: list[dict[str, Any]] = []
    for pair in plan.pairs:
        rows = {method: _row(cells, plan, pair, method) for method in plan.methods}
        student = rows.get(plan.baseline or "")
        for row in (_teacher(cells, teachers, plan, pair), *rows.values()):
            line: dict[str, Any] = {"pair": pair, "method": row.method, **_counted(row, student, plan, pair)}
            for name, metric in _CLOCKED.items():
                values = [value for value in _values(row, metric) if math.isfinite(value)]
                line[name] = _mean(values)
            lines.append(line)
    return _table(lines, COST_COLUMNS)


def _records(runs: pd.DataFrame, kind: str) -> list[Run]:
    if runs.empty:
        return []
    metrics = ("test/acc1", *_MEANS.values(), *_CLOCKED.values())
    absent: dict[str, Any] = {name: math.nan for name in metrics if name not in runs.columns}
    absent |= {name: "" for name in ("fingerprint",) if name not in runs.columns}
    wanted = runs[runs["kind"] == kind].assign(**absent).astype(dict.fromkeys(metrics, "float64"))
    # Sorted, so that the first reason of several does not depend on the order in which the runs came.
    return sorted(wanted.to_dict("records"), key=lambda run: str(run["run_id"]))


def _planned(runs: pd.DataFrame, plan: Plan) -> dict[tuple[str, str, int], list[Run]]:
    """The runs of every planned cell.

    Raises:
        ValueError: two of them are finished.
    """
    cells: dict[tuple[str, str, int], list[Run]] = {
        (pair, method, seed): [] for pair in plan.pairs for method in plan.methods for seed in plan.seeds
    }
    for run in _records(runs, "run"):
        key = (run["pair"], run["method"], run["seed"])
        if key in cells:
            cells[key].append(run)
    doubles = {key: found for key, all_ in cells.items() if len(found := [r for r in all_ if _is_finished(r)]) > 1}
    if doubles:
        named = "; ".join(
            f"{pair}/{method} seed {seed}: runs {', '.join(str(run['run_id']) for run in found)}"
            for (pair, method, seed), found in doubles.items()
        )
        raise ValueError(f"more than one finished run for a cell ({named}): delete or archive all but one")
    return cells


def _row(cells: Mapping[tuple[str, str, int], Sequence[Run]], plan: Plan, pair: str, method: str) -> _Row:
    reason = plan.why_not(pair, method)
    if reason is not None:
        return _Row(method, {}, {}, 0, 0, reason)
    by_seed = {seed: cells[pair, method, seed] for seed in sorted(plan.seeds)}
    return _from_runs(method, by_seed, len(plan.seeds))


def _from_runs(method: str, by_seed: Mapping[int, Sequence[Run]], planned: int) -> _Row:
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
    return _Row(method, finished, failed, unmeasured, planned, None)


def _teacher(
    cells: Mapping[tuple[str, str, int], Sequence[Run]], teachers: Iterable[Run], plan: Plan, pair: str
) -> _Row:
    """The row of the network that taught the pair's students, found by its identity.

    Raises:
        ValueError: the pair's students had two teachers, or the teacher has two finished runs.
    """
    identity = _teacher_id(cells, plan, pair)
    own = [run for run in teachers if (run["pair"] == pair if identity is None else run["teacher_id"] == identity)]
    finished = [run for run in own if _is_finished(run)]
    if len(finished) > 1:
        # One teacher can be recorded once for each pair that it serves.
        finished = [run for run in finished if run["pair"] == pair] or finished
    if len(finished) > 1:
        names = ", ".join(str(run["run_id"]) for run in finished)
        raise ValueError(
            f"the teacher of {pair} has more than one finished run ({names}): delete or archive all but one"
        )
    return _from_runs(TEACHER, {0: finished or own}, 1)


def _teacher_id(cells: Mapping[tuple[str, str, int], Sequence[Run]], plan: Plan, pair: str) -> str | None:
    # The student alone has no teacher of its own, so it decides only where nothing else does.
    taught = [run for key, runs in cells.items() if key[0] == pair and key[1] != plan.baseline for run in runs]
    alone = [run for key, runs in cells.items() if key[0] == pair and key[1] == plan.baseline for run in runs]
    used = _identities(run for run in taught if _is_finished(run))
    if len(used) > 1:
        raise ValueError(f"the students of {pair} learned from different teachers: {', '.join(used)}")
    known = next(filter(None, (used, _identities(taught), _identities(alone))), [])
    return known[0] if len(known) == 1 else None


def _identities(runs: Iterable[Run]) -> list[str]:
    return sorted({run["teacher_id"] for run in runs if isinstance(run["teacher_id"], str)} - {""})


def _is_finished(run: Run) -> bool:
    return bool(run["status"] == "FINISHED")


def _reason(run: Run) -> str:
    reason = run["reason"]
    return " ".join(reason.split()) if isinstance(reason, str) else ""


def _usual_environment(pair: str, rows: Mapping[str, _Row], mix: bool) -> str:
    """The fingerprint of most of a pair's finished runs, the first by name of several; empty if none has one.

    Raises:
        MixedEnvironmentsError: there is another one, and nobody asked to mix them.
    """
    found = Counter(name for row in rows.values() for run in row.finished.values() if (name := _fingerprint(run)))
    ordered = sorted(found, key=lambda name: (-found[name], name))
    if len(found) > 1 and not mix:
        told = "; ".join(f"{found[name]} in {_differing(name, ordered)}" for name in ordered)
        raise MixedEnvironmentsError(
            f"the runs of {pair} were made in different environments ({told}): train them again in one, or show them "
            "in one table, marked, with --mix-environments"
        )
    return ordered[0] if ordered else ""


def _differing(name: str, names: Iterable[str]) -> str:
    """The parts of a fingerprint that are not in all of them."""
    common = set.intersection(*(set(other.split(", ")) for other in names))
    return ", ".join(part for part in name.split(", ") if part not in common) or "nothing else"


def _fingerprint(run: Run) -> str:
    name = run["fingerprint"]
    return name if isinstance(name, str) else ""


def _published(row: _Row, plan: Plan) -> dict[str, Any]:
    """What others published for a row's networks and method, by the table's first source; none for changed settings."""
    none = {"published": math.nan, "published_source": "", "published_rule": ""}
    names = ("dataset", "teacher", "student")
    trained = {tuple(str(run.get(name, "")) for name in names) for run in row.finished.values()}
    if len(trained) != 1 or row.method == TEACHER or row.method in plan.altered or plan.trials.get(row.method):
        return none
    ((dataset, teacher, student),) = trained
    found = published.of(dataset, teacher, student, row.method)
    if found.empty:
        return none
    first = found.iloc[0]
    return {"published": first["value"], "published_source": first["source"], "published_rule": first["rule"]}


def _elsewhere(row: _Row, usual: str) -> list[str]:
    """A remark on a row with runs that were made elsewhere than most of the pair's."""
    others = [name for run in row.finished.values() if (name := _fingerprint(run)) not in ("", usual)]
    named = "; ".join(_differing(name, (name, usual)) for name in sorted(set(others)))
    return [f"{len(others)} of {row.n} runs were made in another environment ({named})"] if others else []


def _tests(rows: Mapping[str, _Row], plan: Plan) -> dict[str, dict[str, Any]]:
    """Per method of a pair its corrected p values, and the references that it differs from significantly."""
    tests: dict[str, dict[str, Any]] = {method: {"significant": ""} for method in rows}
    for name, reference in (("student", plan.baseline), (KD, KD)):
        corrected = holm([_p(row, reference, rows, plan) for row in rows.values()])
        for test, p in zip(tests.values(), corrected.tolist(), strict=True):
            test[f"p_{name}"] = p
            if p < SIGNIFICANCE:
                test["significant"] = "; ".join(filter(None, (test["significant"], name)))
    return tests


def _p(row: _Row, reference: str | None, rows: Mapping[str, _Row], plan: Plan) -> float:
    """P value of a row against a reference, before correction; NaN where there is nothing to test."""
    rival = rows.get(plan.rival(row.method, reference) or "")
    if rival is None or not row.n == row.planned == rival.n > 1:
        return math.nan
    # The student alone against kd is kd against the student alone, which is tested already.
    twice = reference == KD and plan.rival(rival.method, plan.baseline) == row.method
    return math.nan if twice else float(sign_flip(_gains(row, rival, "")[0]))


def _mean_ranks(table: Mapping[str, Mapping[str, _Row]], plan: Plan) -> dict[str, dict[str, float]]:
    """Mean ranks over pairs by method, for those that have a rank on every pair, apart by number of trials."""
    found: dict[str, dict[str, float]] = {}
    if len(table) < RANK_PAIRS:
        return found
    ranked = [method for method in plan.methods if not any(_incomplete(rows[method], plan) for rows in table.values())]
    for trials in sorted({plan.trials.get(method, 0) for method in ranked}):
        group = [method for method in ranked if plan.trials.get(method, 0) == trials]
        if len(group) < 2:
            continue
        accuracies = [[list(rows[method].accuracies.values()) for method in group] for rows in table.values()]
        for method, (mean, low, high) in zip(group, mean_ranks(accuracies), strict=True):
            found[method] = {"mean_rank": mean, "mean_rank_low": low, "mean_rank_high": high}
    return found


def _measure(row: _Row, rows: Mapping[str, _Row], teacher: _Row, plan: Plan, usual: str) -> dict[str, Any]:
    """The columns of a method's line that its runs decide."""
    line = _line(row)
    student, untuned = rows.get(plan.baseline or ""), rows.get(plan.published(row.method) or "")
    kd = rows.get(plan.rival(row.method, KD) or "")
    notes = [*_replaced(row, student), *_incomplete(row, plan), *_elsewhere(row, usual)]
    if row.n >= 2:
        line["sd"] = statistics.stdev(row.accuracies.values())
        line["ci_low"], line["ci_high"] = _interval(list(row.accuracies.values()))
    if student is not None and student is not row and row.n:
        gains, remarks = _gains(row, student, "the student alone")
        line |= _difference("vs_student", gains)
        line["gap_closed"], more = _gap_closed(gains, row, student, teacher)
        notes += remarks + more
    if untuned is not None and row.n:
        gains, remarks = _gains(row, untuned, untuned.method)
        line |= _difference("vs_published", gains)
        notes += remarks if untuned is not student else []
    if kd is not None and row.n:
        gains, remarks = _gains(row, kd, kd.method)
        line |= _difference("vs_kd", gains)
        # Told by the row of kd already.
        notes += remarks if plan.rival(kd.method, plan.baseline) != row.method else []
    line["note"] = "; ".join(notes)
    return line


def _gains(row: _Row, other: _Row, name: str) -> tuple[list[float], list[str]]:
    """Accuracies of a row above another's, by shared seed; and a remark where seeds are not shared."""
    ours, theirs = row.accuracies, other.accuracies
    gains = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return gains, [f"paired with {name} on {len(gains)} of {row.n} seeds"] if len(gains) < row.n else []


def _difference(name: str, gains: Sequence[float]) -> dict[str, float]:
    low, high = _interval(gains)
    return {name: _mean(gains), f"{name}_low": low, f"{name}_high": high}


def _gap_closed(gains: Sequence[float], row: _Row, student: _Row, teacher: _Row) -> tuple[float, list[str]]:
    """Percent of the gap to the teacher closed over the seeds shared with the student alone, and a remark."""
    alone = [accuracy for seed, accuracy in student.accuracies.items() if seed in row.accuracies]
    if not alone or not teacher.n:
        return math.nan, []
    gap = teacher.accuracies[0] - _mean(alone)
    if round(gap, 9) <= 0:
        return math.nan, ["the teacher is not better than the student alone: no gap to close"]
    return 100 * _mean(gains) / gap, []


def _replaced(row: _Row, student: _Row | None) -> list[str]:
    """A remark on a row whose network at inference is another than the student alone."""
    if student is None:
        return []
    own, alone = (_mean(_values(one, _MEANS["params"])) for one in (row, student))
    if own == alone or not math.isfinite(own - alone):
        return []
    return ["the network at inference is not the bare student: its parameters differ from the student alone's"]


def _counted(row: _Row, student: _Row | None, plan: Plan, pair: str) -> dict[str, Any]:
    """What a row costs by counting."""
    counted: dict[str, Any] = {name: _mean(_values(row, _MEANS[name])) for name in ("params", "compute_tmac")}
    alone = math.nan if student is None else _mean(_values(student, _MEANS["compute_tmac"]))
    counted["compute_factor"] = counted["compute_tmac"] / alone if alone > 0 else math.nan
    counted["trials"] = None if row.method == TEACHER else plan.trials.get(row.method, 0)
    return counted | {"search_tmac": plan.search_tmac.get(f"{pair}/{row.method}", math.nan)}


def _teacher_line(teacher: _Row) -> dict[str, Any]:
    note = ""
    if not teacher.n:
        note = f"failed: {teacher.failed[0]}" if teacher.failed else "the teacher has no finished run with an accuracy"
    return {**_line(teacher), "significant": "", "note": note}


def _line(row: _Row) -> dict[str, Any]:
    line: dict[str, Any] = {"method": row.method, "n": row.n, "planned": row.planned}
    line["acc1"] = _mean(list(row.accuracies.values()))
    return line | {name: _mean(_values(row, metric)) for name, metric in _MEANS.items()}


def _incomplete(row: _Row, plan: Plan) -> list[str]:
    """Why the row has no rank, in short sentences; empty for a row that has one."""
    if row.inapplicable is not None:
        return [f"not applicable: {row.inapplicable}"]
    notes = []
    missing = row.planned - row.n - len(row.failed) - row.unmeasured
    if row.failed:
        first = row.failed[min(row.failed)]
        notes.append(f"{len(row.failed)} of {row.planned} cells failed: {first}")
    if row.unmeasured:
        notes.append(f"{row.unmeasured} of {row.planned} cells finished without an accuracy")
    if missing:
        notes.append(f"{row.n} of {row.planned} cells finished")
    if not notes and row.n < MIN_SEEDS:
        notes.append(f"n = {row.n}: no rank under {MIN_SEEDS} seeds")
    if plan.unequal and plan.trials.get(row.method):
        notes.append(plan.unequal)
    return notes


def _ranks(rows: Sequence[_Row], plan: Plan) -> list[int | None]:
    """Places by mean among the rows that took equally many trials."""
    means: dict[int, list[float]] = {}
    own = [None if _incomplete(row, plan) else _comparable(row) for row in rows]
    budgets = [plan.trials.get(row.method, 0) for row in rows]
    for mean, budget in zip(own, budgets, strict=True):
        if mean is not None:
            means.setdefault(budget, []).append(mean)
    return [
        None if mean is None else 1 + sum(other > mean for other in means[budget])
        for mean, budget in zip(own, budgets, strict=True)
    ]


def _comparable(row: _Row) -> float:
    # Equal decimal accuracies may differ in the last bit once averaged; that must not break a tie.
    return round(_mean(list(row.accuracies.values())), 9)


def _values(row: _Row, metric: str) -> list[float]:
    return [float(run[metric]) for run in row.finished.values()]


def _mean(values: Sequence[float]) -> float:
    # Exact until the last rounding: the order of the values does not show, and equal values are their own mean.
    return statistics.mean(values) if values else math.nan


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of the mean, (NaN, NaN) under two values."""
    if len(values) < 2:
        return math.nan, math.nan
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return _mean(values) - half, _mean(values) + half


def _table(lines: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(lines, columns=list(columns))
    types = dict.fromkeys((name for name in columns if name not in _TEXTS), "float64")
    types |= {name: "int64" for name in _COUNTS if name in columns}
    types |= {name: "Int64" for name in _MISSABLE_COUNTS if name in columns}
    return table.astype(types)


def provenance(runs: pd.DataFrame) -> list[str]:
    """Where the numbers of a table were made: a line for each environment of its finished runs and teachers."""
    lines = []
    finished = runs[runs["status"] == "FINISHED"] if len(runs) else runs
    for environment, made in finished.groupby("environment") if len(finished) else ():
        students = int((made["kind"] == "run").sum())
        counts = [(students, "student"), (len(made) - students, "teacher")]
        lines.append(", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts if n) + f": {environment}")
    return lines


def headline(board: pd.DataFrame, plan: Plan) -> str:
    """The result in one sentence; it states means and intervals and claims no significance.

    Where rows were tuned there is one for them, after one for the rows with published settings.
    """
    if not plan.budgets:
        return _capital(_result(board, plan))
    tuned = board["trials"].fillna(0) > 0
    untuned = "" if all(map(plan.trials.get, plan.methods)) else _result(board[~tuned], plan)
    sentences = [f"With published settings, {untuned}"] if untuned else []
    if plan.unequal:
        return " ".join([*sentences, f"{_capital(plan.unequal)}."])
    return " ".join([*sentences, f"Tuned with {plan.budgets[0]} trials, {_result(board[tuned], plan)}"])


def _capital(sentence: str) -> str:
    """Starts a sentence with a capital letter, unless it starts with the name of a row."""
    own = sentence.startswith(("the student alone", "no method is ranked", "rows were tuned"))
    return sentence[0].upper() + sentence[1:] if own else sentence


def _result(board: pd.DataFrame, plan: Plan) -> str:
    groups = _winners(board, plan)
    won = sorted((names for names in groups if names), key=lambda names: -len(groups[names]))
    if not won:
        return f"no method is ranked: a rank needs {MIN_SEEDS} finished seeds and every planned cell of the row."
    clauses: list[str] = []
    for names in won:
        where = f"{len(groups[names])}" if clauses else f"{len(groups[names])} of {len(plan.pairs)} pairs"
        clauses.append(f"{_label(names, plan)} on {where}{_detail(board, plan, names, groups[names])}")
    if len(won) == 1 and set(won[0]) <= _alone(plan):
        clauses.append("no ranked method has a higher mean")
    if () in groups:
        clauses.append(f"no method is ranked on {len(groups[()])}")
    return "; ".join(clauses) + _unranked(board, plan) + "."


def _alone(plan: Plan) -> set[str]:
    """The rows that train the student alone, with published or tuned settings."""
    return {method for method in plan.methods if (plan.published(method) or method) == plan.baseline}


def _winners(board: pd.DataFrame, plan: Plan) -> dict[tuple[str, ...], list[str]]:
    """Pairs by the methods that share rank 1 there; () for pairs where nothing but the student alone has a rank."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for pair in plan.pairs:
        ranked = board[(board["pair"] == pair) & board["rank"].notna()]
        first = set(ranked.loc[ranked["rank"] == 1, "method"])
        names = tuple(method for method in plan.methods if method in first)
        groups.setdefault(() if set(ranked["method"]) <= _alone(plan) else names, []).append(pair)
    return groups


def _label(names: Sequence[str], plan: Plan) -> str:
    shown = ["the student alone" if name == plan.baseline else name for name in names]
    if len(shown) == 1:
        return f"{shown[0]} has the highest mean"
    return f"{', '.join(shown[:-1])} and {shown[-1]} share the highest mean"


def _detail(board: pd.DataFrame, plan: Plan, names: Sequence[str], pairs: Sequence[str]) -> str:
    """What stands behind being best: the numbers themselves for a study of one pair, else the range of the gains."""
    rows = board[board["pair"].isin(pairs) & board["method"].isin(names)].to_dict("records")
    if len(plan.pairs) == 1:
        numbers = [f"{row['acc1']:.1f} ± {row['sd']:.1f} (n = {row['n']}){_over_student(row)}" for row in rows]
        named = [f"{row['method']} {text}" for row, text in zip(rows, numbers, strict=True)]
        return ": " + (numbers[0] if len(rows) == 1 else ", ".join(named))
    gains = [float(row["vs_student"]) for row in rows if math.isfinite(row["vs_student"])]
    if not gains:
        return ""
    low, high = signed(min(gains), 1), signed(max(gains), 1)
    unclear = sum(_includes_zero(row) for row in rows)
    zero = f", the interval includes zero in {unclear} of {len(gains)}" if unclear else ""
    over = "over" if min(gains) > 0 else "against"
    return f" ({low if low == high else f'{low} to {high}'} {over} the student alone{zero})"


def _over_student(row: Mapping[Hashable, Any]) -> str:
    if not math.isfinite(row["vs_student"]):
        return ""
    gain = f", {signed(row['vs_student'], 1)}"
    if math.isfinite(row["vs_student_low"]):
        gain += f" [{plain(row['vs_student_low'], 1)}, {plain(row['vs_student_high'], 1)}]"
    zero = ", an interval that includes zero" if _includes_zero(row) else ""
    return f"{gain} {'over' if row['vs_student'] > 0 else 'against'} the student alone{zero}"


def _includes_zero(row: Mapping[Hashable, Any]) -> bool:
    return bool(row["vs_student_low"] <= 0 <= row["vs_student_high"])


def _unranked(board: pd.DataFrame, plan: Plan) -> str:
    methods = board[board["method"] != TEACHER]
    keys = zip(methods["pair"], methods["method"], strict=True)
    applicable = methods[[plan.why_not(pair, method) is None for pair, method in keys]]
    unranked = int(applicable["rank"].isna().sum())
    return f"; {unranked} of {len(applicable)} rows have no rank" if unranked else ""


def plain(value: float, digits: int) -> str:
    """`value` with that many decimals, and never a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """`value` with its sign and that many decimals; zero has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def footnotes(board: pd.DataFrame, plan: Plan) -> list[str]:
    """What a reader must know to read the table, in full sentences."""
    tested = "after the last epoch" if plan.select == "last" else "of the epoch with the best validation accuracy"
    sentences = [
        f"Selection rule: the network {tested} is the one that was tested.",
        *_about_protocol(plan),
        "± is the standard deviation over seeds. Intervals are 95 % intervals of the mean over seeds (Student's t, "
        "n - 1 degrees of freedom), one row at a time, not corrected for the number of rows. The teacher is one "
        "network: n = 1, no spread.",
        *_about_student(plan),
        *_about_kd(board),
        *_about_tests(board, plan),
        *_about_power(board),
        f"Ranks order the means within a pair and test nothing; a row needs {MIN_SEEDS} finished seeds and all of its "
        "planned cells, and equal means share a rank.",
        *_about_mean_ranks(board, plan),
        *_about_tuning(plan),
        *_about_published(board),
        "Accuracies, F1 (mean over classes), ECE (expected calibration error) and agreement (same predicted class as "
        "the teacher) are in percent, on the test set.",
        "Compute is what training this row alone would cost per seed, without sharing a cohort, in 10^12 "
        "multiply-accumulates (TMAC), all stages of its training included"
        + ("." if plan.baseline is None else "; beside it the same as a multiple of the student alone's."),
        *_about_validation(board),
    ]
    return sentences


def _about_protocol(plan: Plan) -> list[str]:
    if plan.protocol != "legacy":
        return []
    return ["Legacy protocol: all training images were trained on and none held out, as for most published tables."]


def _about_student(plan: Plan) -> list[str]:
    if plan.baseline is None:
        return ["The study has no row for the student alone, so it shows no differences to it and no closed gap."]
    return [
        f"Differences to the student alone (row {plan.baseline}) are in percentage points and paired by seed (only "
        "seeds that both rows have count); in brackets the 95 % interval of their mean.",
        "The gap closed is (row - student alone) / (teacher - student alone) in percent, over the same paired seeds: 0 "
        "is the student alone, 100 the teacher.",
    ]


def _about_validation(board: pd.DataFrame) -> list[str]:
    if not board["best_minus_last"].notna().any():
        return []
    return [
        "Val best - last is the accuracy of a run's best epoch minus that of its last, in percentage points, mean over "
        "seeds. It is on the validation images: a diagnostic, never a result."
    ]


def _about_tuning(plan: Plan) -> list[str]:
    if not plan.budgets:
        return []
    apart = "Rows with published settings and tuned rows are ranked apart, because a search gives an advantage"
    ranks = "tuned rows have no rank" if plan.unequal else f"tuned rows took {plan.budgets[0]} trials each"
    return [
        f"{apart}; {ranks}. The compute of a search is that of all trials for a row, in TMAC.",
        "Differences to the published settings are those of a tuned row to the row of the same method with published "
        "settings, in percentage points and paired by seed; in brackets the 95 % interval of their mean.",
    ]


def _about_published(board: pd.DataFrame) -> list[str]:
    known = board[board["published"].notna()]
    if known.empty:
        return []
    origins = (known["published_source"] + " (" + known["published_rule"] + ")").tolist()
    several = known.assign(origin=origins).groupby("method")["origin"].nunique()
    rows: dict[str, list[str]] = {}
    for origin, pair, method in zip(origins, known["pair"], known["method"], strict=True):
        name = f"{method} on {pair}" if several[method] > 1 else method
        if name not in rows.setdefault(origin, []):
            rows[origin].append(name)
    listed = "; ".join(f"{origin}: {', '.join(names)}" for origin, names in sorted(rows.items()))
    return [
        'The column "published" is copied from other trainings of the same networks: 240 epochs (mlld 480 or more) on '
        "all 50,000 training images, with other teachers and seeds. It is never compared with the other columns, and "
        f"no number here is computed from it. Top-1 accuracy in percent, by source and tested epoch: {listed}."
    ]


def _about_kd(board: pd.DataFrame) -> list[str]:
    if not board["vs_kd"].notna().any():
        return []
    return [
        f"Differences to {KD} are those to plain distillation, in percentage points and paired by seed; in brackets "
        "the 95 % interval of their mean."
    ]


def _about_tests(board: pd.DataFrame, plan: Plan) -> list[str]:
    if not board[["p_student", "p_kd"]].notna().any(axis=None):
        return []
    tuned = " Tuned rows are tested against the tuned student alone and the tuned kd only." if plan.budgets else ""
    flips = "all" if len(plan.seeds) <= EXACT_SEEDS else f"{FLIPS:,} random"
    return [
        f"p is the two-sided p value of the paired differences under {flips} flips of their signs, corrected by Holm "
        "over the rows of a pair, for each comparison apart; only rows with all of their planned cells are tested. † "
        f"marks p < {SIGNIFICANCE:g}.{tuned}"
    ]


def _about_mean_ranks(board: pd.DataFrame, plan: Plan) -> list[str]:
    ranked = board[board["mean_rank"].notna()]
    if ranked.empty:
        return []
    sentences = [
        "Mean ranks are over the pairs, among the rows that have a rank on every pair; equal means share the mean of "
        "their places. Intervals are 95 % bootstrap intervals over seeds, drawn alike for all rows: they tell how "
        "seeds move the ranks on these pairs, and nothing about other pairs."
    ]
    for trials, means in ranked_together(board, plan).items():
        which = f" tuned with {trials} trials" if trials else ""
        sentences.append(_friedman(means, which, len(plan.pairs)))
    return sentences


def ranked_together(board: pd.DataFrame, plan: Plan) -> dict[int, dict[str, list[float]]]:
    """Mean accuracy per pair by method, apart by number of trials, of rows enough for Friedman's test."""
    groups: dict[int, dict[str, list[float]]] = {}
    for trials, rows in board[board["mean_rank"].notna()].groupby("trials"):
        means = {name: rows.loc[rows["method"] == name, "acc1"].tolist() for name in sorted(set(rows["method"]))}
        if len(plan.pairs) >= FRIEDMAN_PAIRS and len(means) >= FRIEDMAN_METHODS:
            groups[int(str(trials))] = means
    return groups


def _friedman(means: Mapping[str, Sequence[float]], which: str, pairs: int) -> str:
    statistic, p = friedman(means)
    found = f"chi-square {statistic:.2f}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    end = "." if p < SIGNIFICANCE else "; as Friedman's test finds no difference, none is claimed."
    return (
        f"Friedman's test of the {len(means)} rows{which} over {pairs} pairs: {found}. Two mean ranks differ at the 5 "
        f"% level (Nemenyi) if they are more than {critical_difference(len(means), pairs):.2f} apart{end}"
    )


def _about_power(board: pd.DataFrame) -> list[str]:
    methods = board[(board["method"] != TEACHER) & (board["n"] > 0)]
    if methods.empty:
        return []
    n, whole = int(methods["n"].min()), int(methods["n"].max()) < SIGN_FLIP_SEEDS
    if n >= SIGN_FLIP_SEEDS:
        return _about_corrected_power(methods)
    which, what = ("", "no paired difference can") if whole else (" in some rows", "their paired differences cannot")
    told = (
        f"n = {n}{which}: with fewer than {SIGN_FLIP_SEEDS} seeds {what} reach p < 0.05 in an exact sign-flip test "
        f"(smallest possible p = 2/2^{n} = {2 / 2**n:g})."
    )
    return [told] if whole else [told, *_about_corrected_power(methods)]


def _about_corrected_power(methods: pd.DataFrame) -> list[str]:
    """Which comparisons can find nothing, because so many rows are corrected for."""
    most, everywhere, against = 0, True, []
    for name, words in (("p_student", "to the student alone"), ("p_kd", f"to {KD}")):
        tested = methods[methods[name].notna()]
        if tested.empty:
            continue
        n, counts = int(tested["n"].min()), tested.groupby("pair").size()  # n is one: only whole rows are tested
        if smallest_p(n, int(counts.max())) >= SIGNIFICANCE:
            against.append(words)
            most = max(most, int(counts.max()))
            everywhere = everywhere and smallest_p(n, int(counts.min())) >= SIGNIFICANCE
    if not against:
        return []
    return [
        f"n = {n}: with {most} rows to correct for, the smallest possible p is {most} x 2/2^{n} = "
        f"{smallest_p(n, most):g}, so no difference {' or '.join(against)} can reach p < {SIGNIFICANCE:g}"
        f"{'.' if everywhere else ' on a pair with so many.'}"
    ]
