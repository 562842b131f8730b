"""The runs of a small study, made by hand, and their table."""

from __future__ import annotations

import dataclasses

import pandas as pd

from benchmark.leaderboard.table import leaderboard
from benchmark.study.plan import Plan

PAIR = "r56-r20"
PLAN = Plan(
    "study", "", (PAIR,), ("student", "kd", "at"), (0, 1, 2), "last", "student", reference="kd"
)
STUDENT, KD, AT = (90.0, 91.0, 92.0), (92.0, 92.5, 94.0), (91.0, 93.0, 92.0)


def run(method, seed, acc1, pair=PAIR, status="FINISHED", reason="", teacher="T", **metrics):
    return {
        "run_id": f"{pair}-{method}-{seed}-{status}",
        "kind": "run",
        "status": status,
        "reason": reason,
        "pair": pair,
        "method": method,
        "teacher": "r56",
        "student": "r20",
        "dataset": "digits",
        "seed": seed,
        "cell": f"{pair}-{method}-{seed}",
        "teacher_id": teacher,
        "test/acc1": acc1,
    } | {name.replace("_", "/", 1): value for name, value in metrics.items()}


def teacher(acc1=96.0, pair="r56", identity="T", status="FINISHED", reason="", **metrics):
    row = run("teacher", 0, acc1, pair, status, reason, identity, **metrics)
    return row | {"kind": "teacher", "run_id": f"teacher-{identity}-{pair}-{status}"}


def row(method, accuracies, pair=PAIR, **metrics):
    return [run(method, seed, acc1, pair, **metrics) for seed, acc1 in enumerate(accuracies)]


def full():
    return [teacher(), *row("student", STUDENT), *row("kd", KD), *row("at", AT)]


def board(runs, plan=PLAN):
    return leaderboard(pd.DataFrame(runs), plan)


def line(runs, method, plan=PLAN, pair=PAIR):
    table = board(runs, plan)
    (found,) = table[(table["pair"] == pair) & (table["method"] == method)].to_dict("records")
    return found | {"rank": None if pd.isna(found["rank"]) else found["rank"]}


def methods(table, pair=PAIR):
    return table.loc[table["pair"] == pair, "method"].tolist()


TUNED_PLAN = dataclasses.replace(
    PLAN,
    methods=("student", "kd", "at", "student (tuned)", "kd (tuned)", "at (tuned)"),
    trials={"student (tuned)": 20, "kd (tuned)": 20, "at (tuned)": 20},
    search_tmac={f"{PAIR}/kd (tuned)": 12.5},
)

UNEQUAL_PLAN = dataclasses.replace(
    TUNED_PLAN, trials={"student (tuned)": 20, "kd (tuned)": 5, "at (tuned)": 20}
)
UNEQUAL = "rows were tuned with different numbers of trials (20, 5); they are not ranked"


def tuned():
    """Means: at 92, kd 92.83, student 91; tuned at 95, kd 93.5, student 91.5."""
    return [
        *full(),
        *row("student (tuned)", (90.5, 91.5, 92.5)),
        *row("kd (tuned)", (93.0, 93.5, 94.0)),
        *row("at (tuned)", (94.0, 95.0, 96.0)),
    ]
