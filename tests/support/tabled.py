"""A small study with a failed cell, a row that cannot run and tuned rows: its runs, its tables, and their look."""

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
    entries = []
    for pair in pairs:
        for method, accuracies in ACCURACIES.items():
            for seed, acc1 in enumerate(accuracies):
                entries.append(entry(pair, method, seed, acc1, seconds))
        entries.append(
            entry(pair, "dkd", 2, math.nan, seconds)
            | {"status": "FAILED", "reason": "loss | nan [step 3]"}
        )
        entries.append(entry(pair, "teacher", 0, 73.4, seconds) | {"kind": "teacher"})
    return pd.DataFrame(entries)


def entry(pair, method, seed, acc1, seconds):
    return {
        "run_id": f"{pair}{method}{seed}", "kind": "run", "status": "FINISHED", "reason": "", "pair": pair,
        "method": method, "teacher_id": f"T{pair}", "seed": seed, "test/acc1": acc1, "test/acc5": 91.5,
        "test/f1": acc1 - 0.5, "test/ece": 4.25, "test/agreement": 78.0, "cost/params": 278324.0,
        "cost/macs": 41.2e6, "cost/compute_tmac": 1234.5, "cost/latency_ms": seconds / 50,
        "cost/latency_batch64_ms": 0.4 * seconds,
        "cost/train_seconds": seconds, "cost/teacher_seconds": seconds / 4, "cost/peak_memory_mb": 2230.4,
    }  # fmt: skip


def tables(table=None, plan=PLAN):
    table = runs() if table is None else table
    return leaderboard(table, plan), costs(table, plan), plan


def several(count):
    pairs = tuple(f"pair{number}" for number in range(count))
    plan = Plan("several", "", pairs, PLAN.methods, PLAN.seeds, "last", "student", reference="kd")
    return tables(runs(pairs=pairs), plan)


def tuned():
    """The small study, where at and kd were tuned too; at has other parameters and computes twice as much."""
    kd, at = "kd (tuned)", "at (tuned)"
    pair = PLAN.pairs[0]
    plan = Plan(
        PLAN.study, "", PLAN.pairs, (*PLAN.methods, kd, at), PLAN.seeds, "last", "student",
        trials={kd: 20, at: 20}, search_tmac={f"{pair}/{kd}": 24690.0}, reference="kd",
    )  # fmt: skip
    found = {kd: (70.5, 71.1, 71.1), at: (72.0, 72.6, 71.4)}
    entries = [
        entry(pair, name, seed, acc1, 100.0)
        for name in found
        for seed, acc1 in enumerate(found[name])
    ]
    table = pd.concat([runs(), pd.DataFrame(entries)])
    large = table["method"].isin(["at", at])
    table.loc[large, ["cost/params", "cost/compute_tmac"]] = [300000.0, 2469.0]
    return tables(table, plan)


def printed(width=120, terminal=True, arguments=None, style=False):
    text = io.StringIO()
    console = Console(
        file=text, width=width, force_terminal=terminal, color_system="standard" if style else None
    )
    to_console(*(arguments or tables()), console)
    return text.getvalue()
