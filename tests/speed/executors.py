"""What each executor costs per cohort, and what several workers gain.

    OMP_NUM_THREADS=1 python -m tests.speed.executors [--executors inline processes] [--rounds 3]

Two measurements. *Overhead*: a study of many cohorts that take almost no time (one cell, two steps
each), by each executor; the time of the executor `inline` is subtracted, and the rest divided by
the number of cohorts. *Gain*: cohorts of some seconds, by one worker and by one per core. All take
turns, so that any other load on the machine slows all; workers are started, and have loaded data
and teacher, before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from benchmark.execution import executors
from benchmark.execution.executors import Executor
from tests.support.studies import run, tiny

CPU = torch.device("cpu")
SEEDS = 20
"""Cohorts of the study whose cohorts take almost no time."""


def overhead_study(name: str) -> dict[str, Any]:
    """Return a study of many short cohorts."""
    return study(name, ["student"], SEEDS, epochs=1, samples=32)


def long_study(name: str, workers: int) -> dict[str, Any]:
    """Return a study of two cohorts for each worker, each of some seconds."""
    return study(name, ["student", "kd", "at"], 2 * workers, epochs=12, samples=1024)


def study(name: str, rows: list[str], seeds: int, epochs: int, samples: int) -> dict[str, Any]:
    """Return a study on digits."""
    recipe = {"epochs": epochs, "batch_size": 16}
    return tiny(
        rows,
        name=name,
        seeds=list(range(seeds)),
        recipe=recipe,
        split={"val": 40, "train_samples": samples},
        plugins=["tests.support.networks"],
    )


def timed(workspace: Path, content: dict[str, Any], executor: Executor) -> float:
    """Return the seconds that a study takes in a workspace that has its teacher."""
    started = time.perf_counter()
    summary = run(workspace, content, executor=executor)
    assert not summary.failed
    return time.perf_counter() - started


def compared(
    chosen: dict[str, Executor], rounds: int, content: Callable[[str], dict[str, Any]]
) -> dict[str, list[float]]:
    """Return the seconds of a study by each executor, in every round."""
    times: dict[str, list[float]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place)
        for name, executor in chosen.items():  # starts workers, and trains the teacher
            timed(workspace, content(f"warm-up-{name}"), executor)
        for number in range(rounds):
            for name, executor in chosen.items():
                times[name].append(timed(workspace, content(f"{name}-{number}"), executor))
    return times


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executors", nargs="+", choices=executors.names(), default=["processes"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    workers = len(os.sched_getaffinity(0))

    for name in options.executors:
        with closing(executors.create("inline")) as inline:
            single = _of(name, 1)
            with closing(single):
                times = compared({"inline": inline, name: single}, options.rounds, overhead_study)
        extra = [
            1000 * (own - base) / SEEDS
            for own, base in zip(times[name], times["inline"], strict=True)
        ]
        print(f"{name}: {_spread(extra, '.1f')} ms per cohort")

        one, several = _of(name, 1), _of(name, workers)
        with closing(one), closing(several):
            chosen = {"one": one, "several": several}
            times = compared(chosen, options.rounds, lambda own: long_study(own, workers))
        gains = [base / own for base, own in zip(times["one"], times["several"], strict=True)]
        print(f"{name}: {workers} workers are {_spread(gains, '.2f')} times as fast as one")


def _of(name: str, workers: int) -> Executor:
    return executors.create(name, None if name == "inline" else workers)


def _spread(values: list[float], form: str) -> str:
    """Return the median, and the lowest and highest value."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


if __name__ == "__main__":
    main()
