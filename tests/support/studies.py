"""A study so small that it trains in a second, and what tests read from its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmark.execution import environment, prepare
from benchmark.execution import run as execution_run
from benchmark.study import study as study_study
from benchmark.training.progress import Progress
from tests.support.commandline import Ended, ended, launched, leaderboard
from tests.support.records import read_journal

TEACHER, STUDENT = "test_resnet", "test_byobnet"

CLOCKED = (
    "samples_per_second", "cost/latency_ms", "cost/latency_batch64_ms", "cost/train_seconds", "cost/teacher_seconds",
    "cost/peak_memory_mb",
)  # fmt: skip
"""Metrics that depend on the clock or the machine's load."""


def tiny(methods: Sequence[Any] = ("student", "kd"), **changes: Any) -> dict[str, Any]:
    """A study on 48 digits: 2 epochs of 3 batches; the teacher learns for one epoch."""
    recipe = {"epochs": 2, "batch_size": 16, "augmentation": {"crop_padding": 2, "flip": True}}
    content: dict[str, Any] = {
        "name": "tiny",
        "dataset": "digits",
        "split": {"val": 40, "train_samples": 48},
        "pairs": [
            {
                "name": "pair",
                "teacher": {"model": TEACHER, "recipe": {**recipe, "epochs": 1}},
                "student": STUDENT,
            }
        ],
        "methods": list(methods),
        "seeds": [0],
        "recipe": recipe,
    }
    content["recipe"] = {**recipe, **changes.pop("recipe", {})}
    return {**content, **changes}


def write_study(path: Path, content: dict[str, Any]) -> Path:
    """The study as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def run(
    workspace: Path, content: dict[str, Any], progress: Progress | None = None, **options: Any
) -> Any:
    """Runs a study in this process, on the CPU."""
    path = write_study(workspace / "study.yaml", content)
    device = torch.device("cpu")
    prepared = prepare.prepare(
        study_study.load(path), path.read_text(), str(path), device, workspace, print
    )
    known = environment.environment(device)
    return execution_run.run(
        prepared, workspace, str(path), known, progress or Progress(), **options
    )


def plan(workspace: Path, name: str = "tiny") -> dict[str, Any]:
    """A study's plan."""
    found: dict[str, Any] = json.loads((workspace / name / "plan.json").read_text())
    return found


def folders(workspace: Path, name: str = "tiny") -> dict[str, Path]:
    """The folders of a study's cells by "row/seed"."""
    return {
        f"{c['row']}/{c['seed']}": workspace / name / c["folder"]
        for c in plan(workspace, name)["cells"]
    }


def bits(folder: Path) -> dict[str, Any]:
    """All that a cell's training determines: weights by hash, and every metric that no clock measures."""
    records = read_journal(folder / "journal.jsonl")
    early, epochs = (
        [_timeless(r["metrics"]) for r in records if r["kind"] == kind]
        for kind in ("early", "epoch")
    )
    trained = [r["sha256"] for r in records if r["kind"] == "trained"]
    final = [_timeless(r["metrics"]) for r in records if r["kind"] == "final"]
    assert len(trained) == len(final) == 1
    return {"early": early, "epochs": epochs, "sha256": trained[0], "final": final[0]}


def _timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {
        name: value for name, value in metrics.items() if name.removeprefix("early/") not in CLOCKED
    }


ROWS, SEEDS = ("student", "kd", "at"), (0, 1, 2)


@dataclass(frozen=True)
class Tracked:
    """A study that ran to its end while MLflow was fed: what it printed, and the files of its leaderboard."""

    workspace: Path
    study: Path
    ended: Ended
    results: Path
    files: dict[str, bytes]


def run_tracked(folder: Path) -> Tracked:
    """Trains the study in a process of its own, and writes its leaderboard."""
    file = write_study(folder / "tiny.yaml", tiny(ROWS, seeds=list(SEEDS)))
    workspace, results = folder / "runs", folder / "results"
    done = ended(launched("--workspace", workspace, "run", file, "--device", "cpu"))
    return Tracked(workspace, file, done, results, leaderboard(workspace, file, results))
