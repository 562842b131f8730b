"""The runs and tables of a small study with a failed cell, an unsupported row and tuned rows."""

from __future__ import annotations

import io
import math

import pandas as pd
from rich.console import Console

from benchmark.leaderboard.table import costs, leaderboard
from benchmark.report.terminal import to_console
from benchmark.study.plan import Plan

PLAN = Plan(
    "small",
    "Which is best?",
    ("r56-r20",),
    ("student", "kd", "at", "crd", "dkd"),
    (0, 1, 2),
    "last",
    "student",
    {"r56-r20/crd": "needs sample indices"},
    {"r56-r20": "cifar100"},
    reference="kd",
)

ACCURACIES = {
    "student": (69.0, 69.4, 69.2),
    "kd": (70.0, 70.6, 70.3),
    "at": (71.0, 71.6, 70.4),
    "dkd": (70.5, 70.7),
}


def runs(seconds=100.0, pairs=PLAN.pairs):
    """Return the runs of the small study; all times are proportional to `seconds`."""
    entries = []
    for pair in pairs:
        for method, accuracies in ACCURACIES.items():
            for seed, acc1 in enumerate(accuracies):
                entries.append(entry(pair, method, seed, acc1, seconds))

        failed = entry(pair, "dkd", 2, math.nan, seconds)
        entries.append(failed | {"status": "FAILED", "reason": "loss | nan [step 3]"})
        teacher = entry(pair, "teacher", 0, 73.4, seconds)
        entries.append(teacher | {"kind": "teacher"})
    return pd.DataFrame(entries)


def entry(pair, method, seed, acc1, seconds):
    """Return a finished run."""
    return {
        "run_id": f"{pair}{method}{seed}",
        "kind": "run",
        "status": "FINISHED",
        "reason": "",
        "pair": pair,
        "method": method,
        "teacher_id": f"T{pair}",
        "seed": seed,
        "test/acc1": acc1,
        "test/acc5": 91.5,
        "test/f1": acc1 - 0.5,
        "test/ece": 4.25,
        "test/agreement": 78.0,
        "cost/params": 278324.0,
        "cost/macs": 41.2e6,
        "cost/compute_tmac": 1234.5,
        "cost/latency_ms": seconds / 50,
        "cost/latency_batch64_ms": 0.4 * seconds,
        "cost/train_seconds": seconds,
        "cost/teacher_seconds": seconds / 4,
        "cost/peak_memory_mb": 2230.4,
    }


def tables(table=None, plan=PLAN):
    """Return results, costs and plan, by default of the small study."""
    table = runs() if table is None else table
    return leaderboard(table, plan), costs(table, plan), plan


def several(count):
    """Return the tables of the small study on several pairs."""
    pairs = tuple(f"pair{number}" for number in range(count))
    plan = Plan("several", "", pairs, PLAN.methods, PLAN.seeds, "last", "student", reference="kd")
    return tables(runs(pairs=pairs), plan)


def tuned():
    """Return the tables of the small study with tuned rows of kd and at.

    at has more parameters than the student alone, and twice its compute.
    """
    kd, at = "kd (tuned)", "at (tuned)"
    pair = PLAN.pairs[0]
    plan = Plan(
        PLAN.study,
        "",
        PLAN.pairs,
        (*PLAN.methods, kd, at),
        PLAN.seeds,
        "last",
        "student",
        trials={kd: 20, at: 20},
        search_tmac={f"{pair}/{kd}": 24690.0},
        reference="kd",
    )
    accuracies = {kd: (70.5, 71.1, 71.1), at: (72.0, 72.6, 71.4)}
    entries = [
        entry(pair, name, seed, acc1, 100.0)
        for name, values in accuracies.items()
        for seed, acc1 in enumerate(values)
    ]
    table = pd.concat([runs(), pd.DataFrame(entries)])
    of_at = table["method"].isin(["at", at])
    table.loc[of_at, ["cost/params", "cost/compute_tmac"]] = [300000.0, 2469.0]
    return tables(table, plan)


def all_tuned():
    """Return the tables of a study on two pairs in which every row has a better tuned row."""
    rows, tuned_rows = ("student", "kd"), ("student (tuned)", "kd (tuned)")
    plan = Plan(
        "small",
        "",
        ("p", "q"),
        rows + tuned_rows,
        (0, 1, 2),
        "last",
        "student",
        trials=dict.fromkeys(tuned_rows, 5),
        reference="kd",
    )
    means = dict(zip(plan.methods, (60.0, 70.0, 61.0, 72.0), strict=True))
    entries = [
        entry(pair, method, seed, acc1, 1.0)
        for pair in plan.pairs
        for method, acc1 in means.items()
        for seed in plan.seeds
    ]
    return tables(pd.DataFrame(entries), plan)


def histories(pairs=PLAN.pairs, methods=("student", "kd", "at"), epochs=4):
    """Return validation accuracies that rise by 5 per epoch, for two seeds that are 1 apart."""
    values = [
        (pair, method, seed, step, 50.0 + 5 * step + seed)
        for pair in pairs
        for method in methods
        for seed in (0, 1)
        for step in range(1, epochs + 1)
    ]
    return pd.DataFrame(values, columns=["pair", "method", "seed", "step", "value"])


def printed(width=120, terminal=True, arguments=None, style=False):
    """Return the terminal output for some tables, by default those of the small study."""
    text = io.StringIO()
    colours = "standard" if style else None
    console = Console(file=text, width=width, force_terminal=terminal, color_system=colours)
    to_console(*(arguments or tables()), console)
    return text.getvalue()
