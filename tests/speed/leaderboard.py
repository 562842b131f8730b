"""How fast thousands of runs become a table: read from MLflow the first time, and from what is kept of them later.

    python tests/speed_leaderboard.py [--runs 5000] [--rounds 3]

Makes a local store with one study of so many finished runs, with as many tags, parameters and metrics as real ones have
(six minutes for 5,000), then reads it and makes its leaderboard, in turns with and without the file of what was read.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmark.leaderboard import table
from benchmark.tracking import client as tracking_client
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import store as tracking_store
from benchmark.tracking.client import Point
from benchmark.tracking.sync import _pack
from benchmark.tracking.tags import PLAN, REVISION, RUN, STUDY

METHODS = ("student", *(f"method{number}" for number in range(49)))
PAIRS = tuple(f"pair{number}" for number in range(10))


def fill(store: tracking_store.Store, count: int) -> None:
    """One study with so many runs: methods times pairs times seeds."""
    seeds = range(max(1, count // (len(METHODS) * len(PAIRS))))
    plan = {
        "study": "large", "question": "Which is best?", "pairs": PAIRS, "methods": METHODS, "seeds": list(seeds),
        "select": "last", "protocol": "standard", "baseline": "student", "not_applicable": {}, "dataset": "made up",
    }  # fmt: skip
    tags = {STUDY: "large", PLAN: _pack(plan), REVISION: "1"}
    client, experiment = tracking_client.prepare(store, "kd/large", tags)
    draw = random.Random(0)
    for pair in PAIRS:
        for place, method in enumerate(METHODS):
            for seed in seeds:
                named = {
                    "pair": pair,
                    "method": method,
                    "teacher": "resnet56",
                    "student": "resnet20",
                }
                named |= {
                    "dataset": "made up",
                    "teacher_id": "f" * 12,
                    "seed": str(seed),
                    "study": "large",
                }
                named |= {
                    "cell": f"{pair}-{place}-{seed}",
                    "git_commit": "abc",
                    "environment": "on " + "x" * 60,
                }
                named |= {"fingerprint": "device cpu", "kdbench.synced": "20", "kdbench.kind": RUN}
                run = client.create_run(
                    experiment.experiment_id, tags=named, run_name=f"{method} {pair} s{seed}"
                )
                keys = [
                    "test/acc1",
                    "test/acc5",
                    "test/f1",
                    "cost/params",
                    *(f"loss/term{n}" for n in range(20)),
                ]
                points = [Point(key, draw.gauss(70, 1), 1_700_000_000_000, 20) for key in keys]
                client.log(
                    run, points, {f"recipe.setting{number}": str(number) for number in range(13)}
                )
                client.set_terminated(run.info.run_id, "FINISHED")


def seconds(store: tracking_store.Store) -> tuple[float, int]:
    """How long the table takes, and of how many runs it is."""
    started = time.perf_counter()
    runs = tracking_runs.runs("kd/large", store)
    table.leaderboard(runs, tracking_runs.plan("kd/large", store))
    return time.perf_counter() - started, len(runs)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = tracking_store.open_store(Path(folder), None)
        fill(store, options.runs)
        rounds, count = [], 0
        for _ in range(options.rounds):
            shutil.rmtree(store.memory or "", ignore_errors=True)
            (first, count), (later, _) = seconds(store), seconds(store)
            rounds.append((first, later))
    print(f"{count} runs to a table, median (range) of {options.rounds} rounds")
    for name, found in zip(("from MLflow", "kept"), zip(*rounds, strict=True), strict=True):
        print(
            f"  {name:12} {statistics.median(found):6.2f} s ({min(found):.2f} to {max(found):.2f})"
        )
    ratios = [first / later for first, later in rounds]
    print(
        f"  {'ratio':12} {statistics.median(ratios):6.1f}   ({min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
