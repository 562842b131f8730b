"""From the runs of a study to its leaderboard: means, spread, paired differences, p values and ranks, as tables.

Pure functions of a table of runs and the study's plan: no tracker, no clock, no chance that is not seeded. The order of
the runs changes no bit of the result. Accuracy-like values are in percent, differences in percentage points; nothing is
rounded.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from benchmark.leaderboard import published
from benchmark.leaderboard.rows import (
    CLOCKED,
    MEANS,
    Row,
    Run,
    method_row,
    planned,
    records,
    teacher_row,
)
from benchmark.leaderboard.statistics import RANK_PAIRS, SIGNIFICANCE, holm, mean_ranks, sign_flip
from benchmark.study.plan import TEACHER, Plan

MIN_SEEDS = 3
"""A row with fewer finished seeds has no rank."""

CONFIDENCE = 0.95

COLUMNS = (
    "pair", "method", "rank", "n", "planned", "acc1", "sd", "ci_low", "ci_high",
    "vs_student", "vs_student_low", "vs_student_high", "gap_closed",
    "vs_untuned", "vs_untuned_low", "vs_untuned_high",
    "vs_kd", "vs_kd_low", "vs_kd_high", "p_student", "p_kd", "significant",
    "mean_rank", "mean_rank_low", "mean_rank_high",
    "acc5", "f1", "ece", "agreement", "params", "macs", "compute_tmac", "compute_factor", "trials", "search_tmac",
    "best_minus_last", "published", "published_source", "published_rule", "note",
)  # fmt: skip

COST_COLUMNS = (
    "pair", "method", "latency_ms", "latency_batch64_ms", "train_seconds", "teacher_seconds", "peak_memory_mb",
    "params", "compute_tmac", "compute_factor", "trials", "search_tmac",
)  # fmt: skip

_TEXTS = ("pair", "method", "significant", "published_source", "published_rule", "note")
_COUNTS, _MISSABLE_COUNTS = ("n", "planned"), ("rank", "trials")


class MixedEnvironmentsError(ValueError):
    """The runs of one pair were made in environments that differ in more than speed."""


def leaderboard(runs: pd.DataFrame, plan: Plan, mix_environments: bool = False) -> pd.DataFrame:
    """The table of a study: per pair the teacher, then every planned method by falling mean accuracy.

    `runs` has one row per run; metric columns that no run has logged may be missing. Only finished runs with a finite
    `test/acc1` count. Every mean is over all runs that count, and NaN where one of them lacks the metric. The result
    has the columns `COLUMNS`; `sd` has ddof 1, intervals are Student's t at 95 %, `vs_student` and `gap_closed` use
    the seeds that the row shares with the student alone, `vs_untuned` those that a tuned row shares with the row of
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
    cells, teachers = planned(runs, plan), records(runs, TEACHER)
    lines: list[dict[str, Any]] = []
    table = {
        pair: {method: method_row(cells, plan, pair, method) for method in plan.methods}
        for pair in plan.pairs
    }
    over_pairs = _mean_ranks(table, plan)
    for pair, rows in table.items():
        usual = _usual_environment(pair, rows, mix_environments)
        teacher, student = teacher_row(cells, teachers, plan, pair), rows.get(plan.baseline or "")
        measured = [(row, _measure(row, rows, teacher, plan, usual)) for row in rows.values()]
        tests = _tests(rows, plan)
        for (row, line), rank in zip(measured, _ranks(list(rows.values()), plan), strict=True):
            line |= {"rank": rank, **tests[row.method], **over_pairs.get(row.method, {})}
        measured.sort(key=lambda entry: -_comparable(entry[0]) if entry[0].n else math.inf)
        for row, line in [(teacher, _teacher_line(teacher)), *measured]:
            lines.append(
                {
                    "pair": pair,
                    **line,
                    **_counted(row, student, plan, pair),
                    **_published(row, plan),
                }
            )
    return _table(lines, COLUMNS)


def costs(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Costs of the same runs: `COST_COLUMNS`, per pair the teacher, then the methods in plan order.

    What a clock measured is the median over the finished runs that measured it (ms, seconds, MB), which one run on a
    busy machine does not move; NaN where none did.
    These numbers differ between two identical trainings, so they stand apart from the leaderboard. Those that are
    counted (parameters, compute, trials) are the leaderboard's.

    Raises:
        ValueError: as `leaderboard`.
    """
    cells, teachers = planned(runs, plan), records(runs, TEACHER)
    lines: list[dict[str, Any]] = []
    for pair in plan.pairs:
        rows = {method: method_row(cells, plan, pair, method) for method in plan.methods}
        student = rows.get(plan.baseline or "")
        for row in (teacher_row(cells, teachers, plan, pair), *rows.values()):
            line: dict[str, Any] = {
                "pair": pair,
                "method": row.method,
                **_counted(row, student, plan, pair),
            }
            for name, metric in CLOCKED.items():
                values = [value for value in _values(row, metric) if math.isfinite(value)]
                line[name] = statistics.median(values) if values else math.nan
            lines.append(line)
    return _table(lines, COST_COLUMNS)


def _usual_environment(pair: str, rows: Mapping[str, Row], mix: bool) -> str:
    """The fingerprint of most of a pair's finished runs, the first by name of several; empty if none has one.

    Raises:
        MixedEnvironmentsError: there is another one, and nobody asked to mix them.
    """
    found = Counter(
        name
        for row in rows.values()
        for run in row.finished.values()
        if (name := _fingerprint(run))
    )
    ordered = sorted(found, key=lambda name: (-found[name], name))
    if len(found) > 1 and not mix:
        told = "; ".join(f"{found[name]} in {_differing(name, ordered)}" for name in ordered)
        raise MixedEnvironmentsError(
            f"the runs of {pair} were made in different environments ({told}): train them again in one, or show them "
            "in one table, marked, with --mix-environments"
        )
    return ordered[0] if ordered else ""


def _differing(name: str, names: Iterable[str]) -> str:
    """The parts of a fingerprint that are not in all of them, or else those that only others have."""
    parts = {other: other.split(", ") for other in (*names, name)}
    common = set.intersection(*map(set, parts.values()))
    own = [part for part in parts[name] if part not in common]
    lacking = dict.fromkeys(
        part for other in parts.values() for part in other if part not in parts[name]
    )
    return ", ".join(own) or f"no {' and no '.join(lacking)}"


def _fingerprint(run: Run) -> str:
    name = run["fingerprint"]
    return name if isinstance(name, str) else ""


def _published(row: Row, plan: Plan) -> dict[str, Any]:
    """What others published for a row's networks and method, by the table's first source; none for changed settings."""
    none = {"published": math.nan, "published_source": "", "published_rule": ""}
    names = ("dataset", "teacher", "student")
    trained = {tuple(str(run.get(name, "")) for name in names) for run in row.finished.values()}
    if (
        len(trained) != 1
        or row.method == TEACHER
        or row.method in plan.altered
        or plan.trials.get(row.method)
    ):
        return none
    ((dataset, teacher, student),) = trained
    found = published.of(dataset, teacher, student, row.method)
    if found.empty:
        return none
    first = found.iloc[0]
    return {
        "published": first["value"],
        "published_source": first["source"],
        "published_rule": first["rule"],
    }


def _elsewhere(row: Row, usual: str) -> list[str]:
    """A remark on a row with runs that were made elsewhere than most of the pair's."""
    others = [
        name for run in row.finished.values() if (name := _fingerprint(run)) not in ("", usual)
    ]
    named = "; ".join(_differing(name, (name, usual)) for name in sorted(set(others)))
    return (
        [f"{len(others)} of {row.n} runs were made in another environment ({named})"]
        if others
        else []
    )


def _tests(rows: Mapping[str, Row], plan: Plan) -> dict[str, dict[str, Any]]:
    """Per method of a pair its p values, corrected for all of the pair's, and what it differs from significantly."""
    references = {"student": plan.baseline, "kd": plan.reference}
    tests: dict[str, dict[str, Any]] = {method: {"significant": ""} for method in rows}
    each = [(row, name) for name in references for row in rows.values()]
    corrected = holm([_p(row, references[name], rows, plan) for row, name in each])
    for (row, name), p in zip(each, corrected.tolist(), strict=True):
        test = tests[row.method]
        test[f"p_{name}"] = p
        if p < SIGNIFICANCE:
            test["significant"] = "; ".join(filter(None, (test["significant"], name)))
    return tests


def _p(row: Row, reference: str | None, rows: Mapping[str, Row], plan: Plan) -> float:
    """P value of a row against a reference, before correction; NaN where there is nothing to test."""
    rival = rows.get(plan.rival(row.method, reference) or "")
    if rival is None or not row.n == row.planned == rival.n > 1:
        return math.nan
    # The student alone against kd is kd against the student alone, which is tested already.
    twice = reference == plan.reference and plan.rival(rival.method, plan.baseline) == row.method
    return math.nan if twice else float(sign_flip(_gains(row, rival, "")[0]))


def _mean_ranks(table: Mapping[str, Mapping[str, Row]], plan: Plan) -> dict[str, dict[str, float]]:
    """Mean ranks over pairs by method, for those that have a rank on every pair, apart by number of trials."""
    found: dict[str, dict[str, float]] = {}
    if len(table) < RANK_PAIRS:
        return found
    ranked = [
        method
        for method in plan.methods
        if not any(_incomplete(rows[method], plan) for rows in table.values())
    ]
    for trials in sorted({plan.trials.get(method, 0) for method in ranked}):
        group = [method for method in ranked if plan.trials.get(method, 0) == trials]
        if len(group) < 2:
            continue
        accuracies = [
            [list(rows[method].accuracies.values()) for method in group] for rows in table.values()
        ]
        for method, (mean, low, high) in zip(group, mean_ranks(accuracies), strict=True):
            found[method] = {"mean_rank": mean, "mean_rank_low": low, "mean_rank_high": high}
    return found


def _measure(
    row: Row, rows: Mapping[str, Row], teacher: Row, plan: Plan, usual: str
) -> dict[str, Any]:
    """The columns of a method's line that its runs decide."""
    line = _line(row)
    student, untuned = rows.get(plan.baseline or ""), rows.get(plan.published(row.method) or "")
    rival, kd = (
        rows.get(plan.rival(row.method, reference) or "")
        for reference in (plan.baseline, plan.reference)
    )
    notes = [*_replaced(row, student), *_incomplete(row, plan), *_elsewhere(row, usual)]
    if row.n >= 2:
        line["sd"] = statistics.stdev(row.accuracies.values())
        line["ci_low"], line["ci_high"] = _interval(list(row.accuracies.values()))
    if rival is not None and row.n:
        name = "the student alone" if rival is student else rival.method
        gains, remarks = _gains(row, rival, name)
        line |= _difference("vs_student", gains)
        line["gap_closed"], more = _gap_closed(gains, row, rival, teacher, name)
        notes += remarks + more
    if untuned is not None and row.n:
        gains, remarks = _gains(
            row, untuned, "the student alone" if untuned is student else untuned.method
        )
        line |= _difference("vs_untuned", gains)
        notes += remarks
    if kd is not None and row.n:
        gains, remarks = _gains(row, kd, kd.method)
        line |= _difference("vs_kd", gains)
        # Told by the row of kd already.
        notes += remarks if plan.rival(kd.method, plan.baseline) != row.method else []
    line["note"] = "; ".join(notes)
    return line


def _gains(row: Row, other: Row, name: str) -> tuple[list[float], list[str]]:
    """Accuracies of a row above another's, by shared seed; and a remark where seeds are not shared."""
    ours, theirs = row.accuracies, other.accuracies
    gains = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return gains, [f"paired with {name} on {len(gains)} of {row.n} seeds"] if len(
        gains
    ) < row.n else []


def _difference(name: str, gains: Sequence[float]) -> dict[str, float]:
    low, high = _interval(gains)
    return {name: _mean(gains), f"{name}_low": low, f"{name}_high": high}


def _gap_closed(
    gains: Sequence[float], row: Row, student: Row, teacher: Row, name: str
) -> tuple[float, list[str]]:
    """Percent of the gap to the teacher closed over the seeds shared with the student alone, and a remark."""
    alone = [accuracy for seed, accuracy in student.accuracies.items() if seed in row.accuracies]
    if not alone or not teacher.n:
        return math.nan, []
    gap = teacher.accuracies[0] - _mean(alone)
    if round(gap, 9) <= 0:
        return math.nan, [f"the teacher is not better than {name}: no gap to close"]
    return 100 * _mean(gains) / gap, []


def _replaced(row: Row, student: Row | None) -> list[str]:
    """A remark on a row whose network at inference is another than the student alone."""
    if student is None:
        return []
    own, alone = (_mean(_values(one, MEANS["params"])) for one in (row, student))
    if own == alone or not math.isfinite(own - alone):
        return []
    return [
        "the network at inference is not the bare student: its parameters differ from the student alone's"
    ]


def _counted(row: Row, student: Row | None, plan: Plan, pair: str) -> dict[str, Any]:
    """What a row costs by counting."""
    counted: dict[str, Any] = {
        name: _mean(_values(row, MEANS[name])) for name in ("params", "compute_tmac")
    }
    alone = math.nan if student is None else _mean(_values(student, MEANS["compute_tmac"]))
    counted["compute_factor"] = counted["compute_tmac"] / alone if alone > 0 else math.nan
    counted["trials"] = None if row.method == TEACHER else plan.trials.get(row.method, 0)
    return counted | {"search_tmac": plan.search_tmac.get(f"{pair}/{row.method}", math.nan)}


def _teacher_line(teacher: Row) -> dict[str, Any]:
    note = ""
    if not teacher.n:
        note = (
            f"failed: {teacher.failed[0]}"
            if teacher.failed
            else "the teacher has no finished run with an accuracy"
        )
    return {**_line(teacher), "significant": "", "note": note}


def _line(row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {"method": row.method, "n": row.n, "planned": row.planned}
    line["acc1"] = _mean(list(row.accuracies.values()))
    return line | {name: _mean(_values(row, metric)) for name, metric in MEANS.items()}


def _incomplete(row: Row, plan: Plan) -> list[str]:
    """Why the row has no rank, in short sentences; empty for a row that has one."""
    if row.inapplicable is not None:
        return [f"not applicable: {row.inapplicable}"]
    notes = []
    missing = row.planned - row.n - len(row.failed) - row.unmeasured
    if row.failed:
        counts = Counter(row.failed[seed] for seed in sorted(row.failed))
        reasons = [
            reason if len(counts) == 1 else f"{reason} ({count})"
            for reason, count in counts.items()
        ]
        notes.append(f"{len(row.failed)} of {row.planned} cells failed: {', '.join(reasons)}")
    if row.unmeasured:
        notes.append(f"{row.unmeasured} of {row.planned} cells finished without an accuracy")
    if missing:
        notes.append(f"{row.n} of {row.planned} cells finished")
    if not notes and row.n < MIN_SEEDS:
        notes.append(f"n = {row.n}: no rank under {MIN_SEEDS} seeds")
    if plan.unequal and plan.trials.get(row.method):
        notes.append(plan.unequal)
    return notes


def _ranks(rows: Sequence[Row], plan: Plan) -> list[int | None]:
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


def _comparable(row: Row) -> float:
    # Equal decimal accuracies may differ in the last bit once averaged; that must not break a tie.
    return round(_mean(list(row.accuracies.values())), 9)


def _values(row: Row, metric: str) -> list[float]:
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
