"""Time from thousands of runs to a leaderboard: read from MLflow first, from the cache later.

    python tests/speed/leaderboard.py [--runs 5000] [--rounds 3]

Creates a local store with one study of finished runs that have as many tags, params and metrics as
real ones (six minutes for 5,000). Then reads it and makes its leaderboard, alternately without and
with the cache of runs.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.leaderboard.table import leaderboard
from benchmark.study.plan import Plan
from benchmark.tracking import plan_tag
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking.client import Client, Point
from benchmark.tracking.experiments import open_experiment
from benchmark.tracking.store import Store, open_store
from benchmark.tracking.tags import KIND, PLAN, REVISION, RUN, STUDY, SYNCED

METHODS = ("student", *(f"method{number}" for number in range(49)))
PAIRS = tuple(f"pair{number}" for number in range(10))
EXPERIMENT = "kd/large"
METRICS = ("test/acc1", "test/acc5", "test/f1", "cost/params")
LOSSES = tuple(f"loss/term{number}" for number in range(20))
PARAMS = {f"recipe.setting{number}": str(number) for number in range(13)}


def fill(store: Store, count: int) -> None:
    """Write a study with about `count` runs: methods x pairs x seeds."""
    seeds = range(max(1, count // (len(METHODS) * len(PAIRS))))
    plan = Plan(
        study="large",
        question="Which is best?",
        pairs=PAIRS,
        methods=METHODS,
        seeds=tuple(seeds),
        select="last",
        baseline="student",
        datasets=dict.fromkeys(PAIRS, "synthetic"),
        experiment=EXPERIMENT,
    )
    tags = {STUDY: "large", PLAN: plan_tag.pack(plan), REVISION: "1"}
    client, experiment = open_experiment(store, EXPERIMENT, tags)

    draw = random.Random(0)
    for pair, method, seed in itertools.product(PAIRS, METHODS, seeds):
        run = create_run(client, experiment, pair, method, seed)
        points = [
            Point(key, draw.gauss(70, 1), 1_700_000_000_000, 20) for key in (*METRICS, *LOSSES)
        ]
        client.log(run, points, PARAMS)
        client.set_terminated(run.info.run_id, "FINISHED")


def create_run(client: Client, experiment: Any, pair: str, method: str, seed: int) -> Any:
    """Create the run of a cell."""
    tags = {
        KIND: RUN,
        SYNCED: "20",
        "study": "large",
        "dataset": "synthetic",
        "pair": pair,
        "method": method,
        "teacher": "resnet56",
        "teacher_id": "f" * 12,
        "student": "resnet20",
        "seed": str(seed),
        "cell": f"{pair}-{METHODS.index(method)}-{seed}",
        "git_commit": "abc",
        "environment": f"on {'x' * 60}",
        "fingerprint": "device cpu",
    }
    name = f"{method} {pair} s{seed}"
    return client.create_run(experiment.experiment_id, tags=tags, run_name=name)


def measure(store: Store) -> tuple[float, int]:
    """Make the leaderboard; return the seconds it took, and the number of runs."""
    started = time.perf_counter()
    runs = tracking_runs.runs(EXPERIMENT, store)
    leaderboard(runs, tracking_runs.plan(EXPERIMENT, store))
    return time.perf_counter() - started, len(runs)


def report(name: str, values: Sequence[float], unit: str = "") -> None:
    """Print median and range."""
    median = statistics.median(values)
    print(f"  {name:12} {median:6.2f}{unit} ({min(values):.2f} to {max(values):.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    read, cached = [], []
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), None)
        assert store.run_cache is not None
        fill(store, options.runs)
        for _ in range(options.rounds):
            shutil.rmtree(store.run_cache, ignore_errors=True)
            seconds, count = measure(store)
            read.append(seconds)
            seconds, _ = measure(store)
            cached.append(seconds)

    print(f"{count} runs to a table, median (range) of {options.rounds} rounds")
    report("from MLflow", read, " s")
    report("from cache", cached, " s")
    report("ratio", [first / later for first, later in zip(read, cached, strict=True)])


if __name__ == "__main__":
    main()
