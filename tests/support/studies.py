"""A study that trains in a second, and functions that read its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

import methods
from benchmark.execution import environment, prepare
from benchmark.execution import run as execution_run
from benchmark.execution.executors import Executor
from benchmark.execution.executors.inline import InlineExecutor
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.study import study as study_study
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.progress import Progress
from tests.support.commandline import Ended, kdbench, leaderboard
from tests.support.networks import STUDENT, TEACHER
from tests.support.records import read_journal

CPU = torch.device("cpu")

ROWS, SEEDS = ("student", "kd", "at"), (0, 1, 2)

CLOCKED = (
    "samples_per_second",
    "teacher_share",
    "teacher_saved_seconds",
    "cost/latency_ms",
    "cost/latency_batch64_ms",
    "cost/train_seconds",
    "cost/teacher_seconds",
    "cost/peak_memory_mb",
)
"""Metrics that depend on the clock or the machine's load."""


def tiny(methods: Sequence[Any] = ("student", "kd"), **changes: Any) -> dict[str, Any]:
    """Return a study on 48 digits: 2 epochs of 3 batches, and one epoch for the teacher.

    Args:
        methods: Its rows.
        changes: Keys to replace; those of `recipe` are merged into it.
    """
    recipe = {"epochs": 2, "batch_size": 16, "augmentation": {"crop_padding": 2, "flip": True}}
    teacher = {"model": TEACHER, "recipe": {**recipe, "epochs": 1}}
    content: dict[str, Any] = {
        "name": "tiny",
        "dataset": "digits",
        "split": {"val": 40, "train_samples": 48},
        "pairs": [{"name": "pair", "teacher": teacher, "student": STUDENT}],
        "methods": list(methods),
        "seeds": [0],
    }
    content["recipe"] = {**recipe, **changes.pop("recipe", {})}
    return {**content, **changes}


def write_study(path: Path, content: dict[str, Any]) -> Path:
    """Write a study to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def run(
    workspace: Path,
    content: dict[str, Any],
    progress: Progress | None = None,
    checkpoint_minutes: float | None = None,
    device: torch.device = CPU,
    engine: EngineChoice = EngineChoice.AUTO,
    executor: Executor | None = None,
    **options: Any,
) -> Any:
    """Run a study, in this process unless there is another executor."""
    path = write_study(workspace / "study.yaml", content)
    loaded = study_study.load(path, methods)
    files = Workspace(workspace)
    prepared = prepare.prepare(loaded, path.read_text(), str(path), device, files, print)
    known = environment.environment(device)
    session = Session(
        files,
        str(path),
        device,
        known,
        progress or Progress(),
        executor or InlineExecutor(),
        checkpoint_minutes=checkpoint_minutes,
        engine=engine,
    )
    return execution_run.run(prepared, session, **options)


class Interrupt(Progress):
    """Ends the run, as Ctrl+C would, after a number of epochs of students."""

    def __init__(self, after: int):
        self.left = after

    def epoch(self, cell: str, *_: Any) -> None:
        """Count an epoch."""
        if not cell.startswith("teacher"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


class Listening(Progress):
    """Stores all warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Store a warning."""
        self.warnings.append(text)


def plan(workspace: Path, name: str = "tiny") -> dict[str, Any]:
    """Return the plan of a study."""
    content: dict[str, Any] = json.loads((workspace / name / "plan.json").read_text())["plan"]
    return content


def folders(workspace: Path, name: str = "tiny") -> dict[str, Path]:
    """Return the folders of a study's cells by "row/seed"."""
    cells = plan(workspace, name)["cells"]
    return {f"{cell['row']}/{cell['seed']}": workspace / name / cell["folder"] for cell in cells}


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind in a cell's journal."""
    journal = read_journal(folder / "journal.jsonl")
    return [record for record in journal if record["kind"] == kind]


def metrics(folder: Path, kind: str = "epoch") -> list[dict[str, float]]:
    """Return the metrics of the records of one kind."""
    return [record["metrics"] for record in records(folder, kind)]


def bits(folder: Path) -> dict[str, Any]:
    """Return everything reproducible in a cell: the digest of its weights, and its metrics.

    Metrics that are measured with a clock are omitted.
    """
    (trained,) = records(folder, "trained")
    (final,) = metrics(folder, "final")
    return {
        "early": [_timeless(epoch) for epoch in metrics(folder, "early")],
        "epochs": [_timeless(epoch) for epoch in metrics(folder)],
        "sha256": trained["sha256"],
        "final": _timeless(final),
    }


def _timeless(values: dict[str, float]) -> dict[str, float]:
    return {
        name: value for name, value in values.items() if name.removeprefix("early/") not in CLOCKED
    }


@dataclass(frozen=True)
class Tracked:
    """A study that ran to its end while MLflow was kept up to date.

    Attributes:
        workspace: Its workspace.
        study: Its file.
        ended: The exit code and the output of the run.
        results: The folder of its leaderboard, with figures.
        files: The files of its leaderboard by name, without figures and measured times.
    """

    workspace: Path
    study: Path
    ended: Ended
    results: Path
    files: dict[str, bytes]


def run_tracked(folder: Path) -> Tracked:
    """Train the study with tracking, and write its leaderboard."""
    file = write_study(folder / "tiny.yaml", tiny(ROWS, seeds=list(SEEDS)))
    workspace, results = folder / "runs", folder / "results"
    done = kdbench("--workspace", workspace, "run", file, "--device", "cpu")
    write = ("--workspace", workspace, "leaderboard", file, "--results", results)
    assert kdbench(*write).code == 0
    return Tracked(workspace, file, done, results, leaderboard(workspace, file, folder / "plain"))
