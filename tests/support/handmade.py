"""Hand-made runs of small studies, and their tables."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd

from benchmark.leaderboard.table import leaderboard
from benchmark.study.plan import Plan

PAIR = "r56-r20"
PLAN = Plan(
    "study", "", (PAIR,), ("student", "kd", "at"), (0, 1, 2), "last", "student", reference="kd"
)
SIX = dataclasses.replace(PLAN, seeds=tuple(range(6)))
EIGHT = dataclasses.replace(PLAN, seeds=tuple(range(8)))

STUDENT = (90.0, 91.0, 92.0)
KD = (92.0, 92.5, 94.0)
AT = (91.0, 93.0, 92.0)

T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))
"""The 97.5 % quantile of Student's t with two degrees of freedom, in closed form."""

T1 = math.tan(math.pi * 0.475)
"""The 97.5 % quantile of Student's t with one degree of freedom, in closed form."""


def run(method, seed, acc1, pair=PAIR, status="FINISHED", reason="", teacher="T", **metrics):
    """Return a run; `cost_params=1.0` sets its metric `cost/params`."""
    tags = {
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
    }
    return tags | {name.replace("_", "/", 1): value for name, value in metrics.items()}


def teacher(acc1=96.0, pair="r56", identity="T", status="FINISHED", reason="", **metrics):
    """Return a run of the teacher."""
    entry = run("teacher", 0, acc1, pair, status, reason, identity, **metrics)
    return entry | {"kind": "teacher", "run_id": f"teacher-{identity}-{pair}-{status}"}


def row(method, accuracies, pair=PAIR, **metrics):
    """Return a run for every seed, except those whose accuracy is None."""
    return [
        run(method, seed, acc1, pair, **metrics)
        for seed, acc1 in enumerate(accuracies)
        if acc1 is not None
    ]


def everywhere(plan, means):
    """Return runs on every pair, with the same accuracy of a method for every seed."""
    runs = []
    for pair in plan.pairs:
        for method, mean in means.items():
            runs += row(method, [mean] * len(plan.seeds), pair)
    return runs


def full():
    """Return all runs of `PLAN`."""
    return [teacher(), *row("student", STUDENT), *row("kd", KD), *row("at", AT)]


def with_costs():
    """Return all runs of `PLAN` with costs.

    The student alone takes 2 TMAC with 100 parameters, kd 3 with 100, and at 5 with 150.
    """
    return [
        teacher(cost_params=900.0, cost_compute_tmac=8.0),
        *row("student", STUDENT, cost_params=100.0, cost_compute_tmac=2.0),
        *row("kd", KD, cost_params=100.0, cost_compute_tmac=3.0),
        *row("at", AT, cost_params=150.0, cost_compute_tmac=5.0),
    ]


def board(runs, plan=PLAN, **options):
    """Return the leaderboard of runs."""
    return leaderboard(pd.DataFrame(runs), plan, **options)


def line(runs, method, plan=PLAN, pair=PAIR):
    """Return a line of the leaderboard by column; a missing rank is None."""
    table = board(runs, plan)
    (entry,) = table[(table["pair"] == pair) & (table["method"] == method)].to_dict("records")
    return entry | {"rank": None if pd.isna(entry["rank"]) else entry["rank"]}


def lines(runs, plan, columns, **options):
    """Return the leaderboard without teachers as tuples, with None for empty values.

    A tuple starts with the method, or in a study of several pairs with the pair and the method.
    """
    table = board(runs, plan, **options)
    names = ["method"] if len(plan.pairs) == 1 else ["pair", "method"]
    selected = table.loc[table["method"] != "teacher", [*names, *columns]].astype(object)
    return [
        tuple(None if pd.isna(value) else value for value in values)
        for values in selected.itertuples(index=False)
    ]


def methods(table, pair=PAIR):
    """Return the methods of a pair, in the order of the table."""
    return table.loc[table["pair"] == pair, "method"].tolist()


def ranks(table):
    """Return ranks by method, in the order of the table; None for a row without a rank."""
    pairs = zip(table["method"], table["rank"], strict=True)
    return {method: None if pd.isna(rank) else rank for method, rank in pairs}


TUNED_PLAN = dataclasses.replace(
    PLAN,
    methods=("student", "kd", "at", "student (tuned)", "kd (tuned)", "at (tuned)"),
    trials={"student (tuned)": 20, "kd (tuned)": 20, "at (tuned)": 20},
    search_tmac={f"{PAIR}/kd (tuned)": 12.5},
)

UNEQUAL_PLAN = dataclasses.replace(
    TUNED_PLAN, trials={"student (tuned)": 20, "kd (tuned)": 5, "at (tuned)": 20}
)
UNEQUAL = "rows were tuned with different numbers of trials (20, 5), so they are not ranked"


def tuned():
    """Return all runs of `TUNED_PLAN`.

    Means: kd 92.83, at 92, student 91; tuned: at 95, kd 93.5, student 91.5.
    """
    return [
        *full(),
        *row("student (tuned)", (90.5, 91.5, 92.5)),
        *row("kd (tuned)", (93.0, 93.5, 94.0)),
        *row("at (tuned)", (94.0, 95.0, 96.0)),
    ]


def over_pairs(count):
    """Return the runs and the plan of a study with a number of pairs.

    at and kd alternate as the best of a pair; the student alone is always last.
    """
    plan = dataclasses.replace(PLAN, pairs=tuple(f"p{number}" for number in range(count)))
    runs = []
    for number, pair in enumerate(plan.pairs):
        best = 93 - 2 * (number % 2)
        runs += row("student", [80] * 3, pair)
        runs += row("kd", [92] * 3, pair)
        runs += row("at", [best] * 3, pair)
    return runs, plan
