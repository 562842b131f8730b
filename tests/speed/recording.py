"""What journals, checkpoints and MLflow cost: a study with them against the same study without.

    python -m tests.speed.recording [--rounds 4] [--epochs 3]

Both train the same students from the same teacher and take turns in one process, so that any other
load on the machine slows both; the ratio is of neighbouring rounds. Time is that of the training
alone, without the start of the command and its last sync, which hours of training do not lengthen.
Both must end with the same weights.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

import methods
from benchmark.execution import environment, prepare, study_teachers
from benchmark.execution import run as execution
from benchmark.execution.session import Session
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import Epoch, Journal, Record
from benchmark.records.layout import Workspace
from benchmark.study import study
from benchmark.tracking.follower import following
from benchmark.tracking.store import open_store
from tests.support.datasources import class_folders

CPU = torch.device("cpu")
IMAGES = (("train", 120), ("test", 20))
"""Images per class."""

ROWS = ("student", "kd", "fitnet", "crd")


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
        mock.patch.object(CellFolder, "save"),
        mock.patch.object(CellFolder, "save_best"),
    ):
        yield


def timed_run(teachers: Path, file: Path, *, recorded: bool) -> tuple[float, list[str]]:
    """Train in a fresh workspace whose teacher is trained already.

    Returns:
        Seconds, and the digests of the weights.
    """
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        shutil.copytree(teachers, workspace / "teachers")
        ready = prepared(workspace, file)
        own_session = session(workspace, file)
        folder = workspace / ready.study.name
        tracking = following(folder, open_store(workspace, None), print) if recorded else None

        with tracking or nullcontext(), nullcontext() if recorded else unrecorded():
            started = time.perf_counter()
            execution.run(ready, own_session)
            seconds = time.perf_counter() - started

        weights = sorted(folder.glob("cells/*/student.safetensors"))
        assert len(weights) == len(ROWS)
        return seconds, [path.read_bytes().hex() for path in weights]


def compare(rounds: int, epochs: int) -> list[float]:
    """Print a line per round, and return the ratios of both times."""
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "recorded.yaml"
        class_folders(folder / "images", IMAGES, classes="abcdefghij", width=32, height=32)
        file.write_text(yaml.safe_dump(content(epochs, folder)))
        ready = prepared(folder, file)
        study_teachers.obtain_teachers(ready, session(folder, file))
        timed_run(folder / "teachers", file, recorded=False)  # a warm-up

        for number in range(1, rounds + 1):
            with_records, weights = timed_run(folder / "teachers", file, recorded=True)
            without, others = timed_run(folder / "teachers", file, recorded=False)
            assert weights == others
            ratios.append(with_records / without)
            per_epoch = 1000 * (with_records - without) / epochs
            print(
                f"round {number}: recorded {with_records:.2f} s, not recorded {without:.2f} s, "
                f"ratio {ratios[-1]:.4f}, {per_epoch:.0f} ms per epoch of {len(ROWS)} students"
            )
    return ratios


def main() -> None:
    """Measure, and print the median ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()

    ratios = compare(options.rounds, options.epochs)
    median = statistics.median(ratios)
    print(f"ratio {median:.4f} ({min(ratios):.4f} to {max(ratios):.4f}), {options.rounds} rounds")


if __name__ == "__main__":
    main()
