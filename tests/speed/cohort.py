"""How much time a search saves by training its trials in cohorts, against one at a time.

    python tests/speed/cohort.py [--rounds 3] [--trials 4] [--epochs 4]

Both ways make the same trials of the methods of studies/search.yaml, with the same teacher, and
take turns in one process. Whatever else the machine does so slows both, and the ratio is taken of
neighbouring rounds. Both must end with the same numbers.
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
from benchmark.execution import environment, prepare, study_teachers
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.search import tune
from benchmark.search.recording import BestTrial
from benchmark.study import study

STUDY = Path(__file__).parents[2] / "studies" / "search.yaml"
CPU = torch.device("cpu")


def prepared(workspace: Path, trials: int, epochs: int) -> prepare.Prepared:
    """Prepare the study with fewer trials of one seed each, and shorter trainings."""
    loaded = study.load(STUDY, methods)
    assert loaded.search is not None
    changes = {"trials": trials, "seeds": [1000], "together": trials}
    search = loaded.search.model_copy(update=changes)
    recipe = loaded.recipe.model_copy(update={"epochs": epochs})
    small = loaded.model_copy(update={"search": search, "recipe": recipe})
    files = Workspace(workspace)
    return prepare.prepare(small, STUDY.read_text(), str(STUDY), CPU, files, lambda _: None)


def session(workspace: Path) -> Session:
    """Return a session on the CPU."""
    return Session(Workspace(workspace), str(STUDY), CPU, environment.environment(CPU))


def timed_search(
    teachers: Path, trials: int, epochs: int, cohort_size: int | None
) -> tuple[float, list[BestTrial]]:
    """Search in a fresh workspace whose teacher is trained already.

    Returns:
        Seconds, and the best trials.
    """
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        shutil.copytree(teachers, workspace / "teachers")
        ready = prepared(workspace, trials, epochs)
        own_session = session(workspace)

        started = time.perf_counter()
        outcome = tune.tune(ready, own_session, cohort_size=cohort_size)
        return time.perf_counter() - started, outcome.best


def compare(rounds: int, trials: int, epochs: int) -> list[float]:
    """Print a line per round, and return the ratios of both times."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        ready = prepared(workspace, trials, epochs)
        study_teachers.obtain_teachers(ready, session(workspace))
        teachers = workspace / "teachers"

        for number in range(1, rounds + 1):
            together, best = timed_search(teachers, trials, epochs, None)
            alone, best_alone = timed_search(teachers, trials, epochs, 1)
            assert best == best_alone
            ratios.append(alone / together)
            print(
                f"round {number}: in cohorts {together:.1f} s, one at a time {alone:.1f} s, "
                f"ratio {ratios[-1]:.2f}"
            )
    return ratios


def main() -> None:
    """Measure, and print the median ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()

    ratios = compare(options.rounds, options.trials, options.epochs)
    median = statistics.median(ratios)
    print(f"ratio {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {options.rounds} rounds")


if __name__ == "__main__":
    main()
