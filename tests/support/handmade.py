"""The runs of small studies, made by hand, and their tables."""

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
    """A run; `cost_params=1.0` is its metric `cost/params`."""
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
    """A run of the teacher."""
    entry = run("teacher", 0, acc1, pair, status, reason, identity, **metrics)
    return entry | {"kind": "teacher", "run_id": f"teacher-{identity}-{pair}-{status}"}


def row(method, accuracies, pair=PAIR, **metrics):
    """A run for every seed; none where the accuracy is None."""
    return [
        run(method, seed, acc1, pair, **metrics)
        for seed, acc1 in enumerate(accuracies)
        if acc1 is not None
    ]


def everywhere(plan, means):
    """Runs with equal accuracies for every seed, by method, on every pair."""
    runs = []
    for pair in plan.pairs:
        for method, mean in means.items():
            runs += row(method, [mean] * len(plan.seeds), pair)
    return runs


def full():
    """All runs of `PLAN`."""
    return [teacher(), *row("student", STUDENT), *row("kd", KD), *row("at", AT)]


def with_costs():
    """All runs of `PLAN`, where the student alone computes 2 TMAC with 100 parameters, kd 3
    with as many, and at 5 with 150.
    """
    return [
        teacher(cost_params=900.0, cost_compute_tmac=8.0),
        *row("student", STUDENT, cost_params=100.0, cost_compute_tmac=2.0),
        *row("kd", KD, cost_params=100.0, cost_compute_tmac=3.0),
        *row("at", AT, cost_params=150.0, cost_compute_tmac=5.0),
    ]


def board(runs, plan=PLAN, **options):
    """The leaderboard of these runs."""
    return leaderboard(pd.DataFrame(runs), plan, **options)


def line(runs, method, plan=PLAN, pair=PAIR):
    """A line of the leaderboard by column; without a rank, the rank is None."""
    table = board(runs, plan)
    (entry,) = table[(table["pair"] == pair) & (table["method"] == method)].to_dict("records")
    return entry | {"rank": None if pd.isna(entry["rank"]) else entry["rank"]}


def lines(runs, plan, columns, **options):
    """The leaderboard without teachers as tuples, None for an empty value.

    A tuple starts with the method, in a study of several pairs with pair and method.
    """
    table = board(runs, plan, **options)
    names = ["method"] if len(plan.pairs) == 1 else ["pair", "method"]
    selected = table.loc[table["method"] != "teacher", [*names, *columns]].astype(object)
    return [
        tuple(None if pd.isna(value) else value for value in values)
        for values in selected.itertuples(index=False)
    ]


def methods(table, pair=PAIR):
    """The methods of a pair in the order of the table."""
    return table.loc[table["pair"] == pair, "method"].tolist()


def ranks(table):
    """Ranks by method, in the order of the table; None for a row without one."""
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
    """All runs of `TUNED_PLAN`.

    Means: kd 92.83, at 92, student 91; tuned: at 95, kd 93.5, student 91.5.
    """
    return [
        *full(),
        *row("student (tuned)", (90.5, 91.5, 92.5)),
        *row("kd (tuned)", (93.0, 93.5, 94.0)),
        *row("at (tuned)", (94.0, 95.0, 96.0)),
    ]


def over_pairs(count):
    """Runs and plan of a study of so many pairs.

    at and kd take turns in being the best of a pair; the student alone is always last.
    """
    plan = dataclasses.replace(PLAN, pairs=tuple(f"p{number}" for number in range(count)))
    runs = []
    for number, pair in enumerate(plan.pairs):
        best = 93 - 2 * (number % 2)
        runs += row("student", [80] * 3, pair)
        runs += row("kd", [92] * 3, pair)
        runs += row("at", [best] * 3, pair)
    return runs, plan
