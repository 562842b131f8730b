"""How much time a search saves by training its trials side by side: cohorts against one training at a time.

    python tests/speed_cohort.py [--rounds 3] [--trials 4] [--epochs 4]

Both make the same trials of the same seven methods as studies/search.yaml, with the same teacher, and take turns in one
process, so that whatever else the machine does slows both; the ratio is of neighbouring rounds. They end with the same
numbers, which is checked.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch

import methods
from benchmark.execution import environment, prepare, run
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.search import tune
from benchmark.search.recording import BestTrial
from benchmark.study import study

STUDY = Path(__file__).parents[2] / "studies" / "search.yaml"


def prepared(workspace: Path, trials: int, epochs: int) -> prepare.Prepared:
    """The study with fewer trials, one seed each, and shorter trainings."""
    loaded = study.load(STUDY, methods)
    assert loaded.search is not None
    search = loaded.search.model_copy(
        update={"trials": trials, "seeds": [1000], "together": trials}
    )
    recipe = loaded.recipe.model_copy(update={"epochs": epochs})
    small = loaded.model_copy(update={"search": search, "recipe": recipe})
    device, files = torch.device("cpu"), Workspace(workspace)
    return prepare.prepare(small, STUDY.read_text(), str(STUDY), device, files, lambda _: None)


def session(workspace: Path) -> Session:
    """A session on the CPU."""
    device = torch.device("cpu")
    known = environment.environment(device)
    return Session(Workspace(workspace), str(STUDY), device, known)


def timed(
    teachers: Path, trials: int, epochs: int, cohort_size: int | None
) -> tuple[float, list[BestTrial]]:
    """Seconds of a search in a fresh workspace whose teacher is trained already, and what it found."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        shutil.copytree(teachers, workspace / "teachers")
        ready = prepared(workspace, trials, epochs)
        own_session = session(workspace)
        started = time.perf_counter()
        outcome = tune.tune(ready, own_session, cohort_size=cohort_size)
        return time.perf_counter() - started, outcome.best


def main() -> None:
    """Measures, and prints a line per round and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("rounds", 3), ("trials", 4), ("epochs", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        ready = prepared(workspace, asked.trials, asked.epochs)
        run.obtain_teachers(ready, session(workspace))
        for number in range(asked.rounds):
            (side, found), (alone, same) = (
                timed(workspace / "teachers", asked.trials, asked.epochs, size)
                for size in (None, 1)
            )
            assert found == same
            ratios.append(alone / side)
            print(
                f"round {number + 1}: in cohorts {side:.1f} s, one at a time {alone:.1f} s, ratio {ratios[-1]:.2f}"
            )
    print(
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {asked.rounds} rounds"
    )


if __name__ == "__main__":
    main()
