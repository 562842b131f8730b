"""How near the price of a rehearsal comes to the time of the run that it stands for.

    OMP_NUM_THREADS=1 python -m tests.speed.rehearsal [STUDY.yaml]

Rehearses a study, runs it, and rehearses it again, all in this process and on one thread, in an
empty workspace. Every clock shows the time of this process on the processor, so that other work on
the machine counts little. MLflow is left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

import methods
from benchmark.execution import environment, prepare, rehearse
from benchmark.execution import run as execution
from benchmark.execution.price import price
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.study import study

STUDY = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
CPU = torch.device("cpu")


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of some work on the processor."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print the price before and after a run, and the time of the run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, nargs="?", default=STUDY)
    path = parser.parse_args().study
    torch.set_num_threads(1)

    with (
        tempfile.TemporaryDirectory() as before,
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(time, "perf_counter", time.process_time),
    ):
        loaded, text = study.load(path, methods), path.read_text()
        empty, used = Workspace(Path(before)), Workspace(Path(folder))
        ready = prepare.prepare(loaded, text, str(path), CPU, empty, print)
        known = environment.environment(CPU)

        def rehearsed() -> float:
            session = Session(empty, str(path), CPU, known)
            priced = price(ready, rehearse.rehearse(ready, session))
            print(priced.total, "s priced:", priced.students, priced.passes, priced.teachers)
            return priced.total

        prices = [rehearsed()]
        session = Session(used, str(path), CPU, known)
        taken = timed(lambda: execution.run(ready, session))
        print(f"{taken:.1f} s taken")
        prices.append(rehearsed())
        print("priced / taken:", ", ".join(f"{value / taken:.2f}" for value in prices))


if __name__ == "__main__":
    main()
