"""What journals, checkpoints and MLflow cost: a study with them against the same study without.

    python -m tests.speed.recording [--rounds 4] [--epochs 3]

Both train the same students from the same teacher and take turns in one process, so that any other
load on the machine slows both; the ratio is of neighbouring rounds. Time is that of the training
alone, without the start of the command (MLflow's import takes ten seconds of another core) and
without its last sync, which hours of training do not lengthen. Both must end with the same weights.

Where equal rounds differ by more than the cost, the ratio cannot show it. So the script also adds
up the time for which the training stops to copy what it saves, or to wait until it is written; the
time that its second thread spends on writing journals and checkpoints; and the processor time of
the process that writes to MLflow, which uses another core.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

import methods
from benchmark.execution import environment, prepare, study_teachers
from benchmark.execution import run as execution
from benchmark.execution.session import Session
from benchmark.records.checkpoints import CellFolder, Checkpoint
from benchmark.records.journal import Epoch, Journal, Record
from benchmark.records.layout import Workspace
from benchmark.study import study
from benchmark.tracking.follower import following
from benchmark.tracking.store import open_store
from benchmark.training.recorder import Recorder
from benchmark.training.writing import Writer
from tests.support.datasources import class_folders

CPU = torch.device("cpu")
IMAGES = (("train", 120), ("test", 20))
"""Images per class."""

ROWS = ("student", "kd", "fitnet", "crd")

START_SECONDS = 15
"""Time in which the process that writes to MLflow has certainly imported it."""


def content(epochs: int, folder: Path) -> dict[str, Any]:
    """Return the study: ResNet-56 teaches ResNet-20, on a thousand images of 32 x 32 pixels."""
    recipe = {"epochs": epochs, "batch_size": 64, "augmentation": {"crop_padding": 4}}
    teacher = {"model": "cifar_resnet56", "recipe": {**recipe, "epochs": 1}}
    return {
        "name": "recorded",
        "dataset": {"name": "folder/images", "root": str(folder)},
        "split": {"val": 200, "train_samples": 1000},
        "pairs": [{"name": "pair", "teacher": teacher, "student": "cifar_resnet20"}],
        "methods": list(ROWS),
        "seeds": [0],
        "recipe": recipe,
    }


def prepared(workspace: Path, file: Path) -> prepare.Prepared:
    """Prepare the study."""
    loaded = study.load(file, methods)
    files = Workspace(workspace)
    return prepare.prepare(loaded, file.read_text(), str(file), CPU, files, lambda _: None)


def session(workspace: Path, file: Path) -> Session:
    """Return a session on the CPU."""
    return Session(Workspace(workspace), str(file), CPU, environment.environment(CPU))


@contextmanager
def unrecorded() -> Iterator[None]:
    """Save no checkpoints, and keep the records of epochs in memory until all are trained."""
    original = Journal.append
    kept: dict[Path, list[Record]] = {}

    def append(journal: Journal, record: Record) -> None:
        if isinstance(record, Epoch):
            kept.setdefault(journal.path, []).append(record)
            journal.records.append(record)
            return

        for waiting in kept.pop(journal.path, []):
            journal.records.remove(waiting)
            original(journal, waiting)
        original(journal, record)

    with (
        mock.patch.object(Journal, "append", append),
        mock.patch.object(Checkpoint, "snapshot"),
        mock.patch.object(CellFolder, "save"),
        mock.patch.object(CellFolder, "save_best"),
    ):
        yield


@dataclass
class Run:
    """A run of the study.

    Attributes:
        seconds: Time of the training.
        stopped: Part of this time that was spent on copies of what is saved, and in waiting for it.
        writing: Time that was spent in writing journals and checkpoints, mostly by another thread.
        tracking: Processor time of the process that writes to MLflow.
        weights: The weights files of the students.
    """

    seconds: float
    stopped: float
    writing: float
    tracking: float
    weights: list[bytes]


class Clock:
    """Adds up the time that is spent in functions, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def watching(self, owner: type, *names: str) -> Iterator[None]:
        """Add up the time of an owner's functions."""
        with ExitStack() as stack:
            for name in names:
                function = self._timed(getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, function))
            yield

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


def processor_time_of_children() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed_run(teachers: Path, file: Path, *, recorded: bool) -> Run:
    """Train in a fresh workspace whose teacher is trained already."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        shutil.copytree(teachers, workspace / "teachers")
        ready = prepared(workspace, file)
        own_session = session(workspace, file)
        folder = workspace / ready.study.name
        tracking = following(folder, open_store(workspace, None), print) if recorded else None

        stopped, writing = Clock(), Clock()
        before = processor_time_of_children()
        with (
            tracking or nullcontext(),
            nullcontext() if recorded else unrecorded(),
            stopped.watching(Recorder, "best", "inside_epoch", "epoch"),
            stopped.watching(Writer, "settle"),
            writing.watching(CellFolder, "save", "save_best"),
            writing.watching(Journal, "append"),
        ):
            if recorded:
                time.sleep(START_SECONDS)
            started = time.perf_counter()
            execution.run(ready, own_session)
            seconds = time.perf_counter() - started
        children = processor_time_of_children() - before

        weights = [path.read_bytes() for path in sorted(folder.glob("cells/*/student.safetensors"))]
        assert len(weights) == len(ROWS)
        return Run(seconds, stopped.seconds, writing.seconds, children, weights)


def compare(rounds: int, epochs: int) -> list[tuple[Run, Run]]:
    """Print a line per round, and return the runs of each: recorded, and not recorded."""
    rounds_run = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "recorded.yaml"
        class_folders(folder / "images", IMAGES, classes="abcdefghij", width=32, height=32)
        file.write_text(yaml.safe_dump(content(epochs, folder)))
        ready = prepared(folder, file)
        study_teachers.obtain_teachers(ready, session(folder, file))
        timed_run(folder / "teachers", file, recorded=False)  # a warm-up

        for number in range(1, rounds + 1):
            with_records = timed_run(folder / "teachers", file, recorded=True)
            without = timed_run(folder / "teachers", file, recorded=False)
            assert with_records.weights == without.weights
            rounds_run.append((with_records, without))
            print(described(number, with_records, without, epochs), flush=True)
    return rounds_run


def described(number: int, recorded: Run, without: Run, epochs: int) -> str:
    """Return a line on a round."""
    stopped, writing = (
        f"{seconds:.2f} s, {seconds / recorded.seconds:.2%} of the time, "
        f"{1000 * seconds / epochs:.0f} ms per epoch of {len(ROWS)} students"
        for seconds in (recorded.stopped, recorded.writing)
    )
    return (
        f"round {number}: recorded {recorded.seconds:.2f} s, not recorded {without.seconds:.2f} s, "
        f"ratio {recorded.seconds / without.seconds:.4f}; stopped {stopped}; writing {writing}; "
        f"MLflow's process {recorded.tracking:.1f} s of processor time"
    )


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()

    rounds = compare(options.rounds, options.epochs)
    for name, values in (
        ("ratio", [recorded.seconds / without.seconds for recorded, without in rounds]),
        ("share of stops", [recorded.stopped / recorded.seconds for recorded, _ in rounds]),
        ("share of writing", [recorded.writing / recorded.seconds for recorded, _ in rounds]),
    ):
        median = statistics.median(values)
        spread = f"{min(values):.4f} to {max(values):.4f}"
        print(f"{name} {median:.4f} ({spread}), {len(values)} rounds")


if __name__ == "__main__":
    main()
