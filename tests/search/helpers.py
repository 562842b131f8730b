"""Tiny searches, and what Optuna's storage holds of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml

import methods
from benchmark.execution import environment, prepare
from benchmark.execution.executors import Executor
from benchmark.execution.executors.inline import InlineExecutor
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.search import tune
from benchmark.search.database import default_storage
from benchmark.study import study
from benchmark.training.progress import Progress
from tests.support.studies import CPU, tiny, write_study

ROWS = ["kd", "kd+at"]
SEARCH = {"trials": 4, "seeds": [100, 101], "together": 2}
LOCAL = ("--device", "cpu", "--no-track")

Trials = dict[str, list[tuple[int, str, dict[str, Any], float | None]]]
"""Number, state, settings and value of every trial, by row."""

Whole = tuple[Path, tune.Outcome]
"""The workspace and the outcome of a search that nothing disturbed."""


def searched(rows: list[Any] = ROWS, **changes: Any) -> dict[str, Any]:
    """Return a tiny study with a tiny search."""
    search = {**SEARCH, **changes.pop("search", {})}
    return tiny(rows, search=search, **changes)


def searching(
    workspace: Path,
    content: dict[str, Any],
    progress: Progress | None = None,
    device: torch.device = CPU,
    executor: Executor | None = None,
    **options: Any,
) -> tune.Outcome:
    """Search, in this process unless there is another executor."""
    path = write_study(workspace / "study.yaml", content)
    loaded, files = study.load(path, methods), Workspace(workspace)
    prepared = prepare.prepare(loaded, path.read_text(), str(path), device, files, lambda _: None)
    known = environment.environment(device)
    session = Session(
        files, str(path), device, known, progress or Progress(), executor or InlineExecutor()
    )
    return tune.tune(prepared, session, **options)


def trials(workspace: Path, storage: str | None = None) -> Trials:
    """Return what Optuna's storage holds."""
    url = storage or default_storage(Workspace(workspace).study("tiny").search)
    rows: Trials = {}
    for name in optuna.get_all_study_names(storage=url):
        optuna_study = optuna.load_study(study_name=name, storage=url)
        rows[name.split(" / ")[2]] = [
            (
                trial.number,
                trial.state.name,
                trial.params,
                trial.value if trial.state.name == "COMPLETE" else None,
            )
            for trial in optuna_study.get_trials()
        ]
    return rows


def record(workspace: Path, key: str) -> dict[str, Any]:
    """Return the record of a search."""
    content: dict[str, Any] = yaml.safe_load((search_folder(workspace) / f"{key}.json").read_text())
    return content


def search_folder(workspace: Path) -> Path:
    """Return the folder of the tiny study's searches."""
    return workspace / "tiny" / "search"


def copy_teachers(whole: Whole, workspace: Path) -> None:
    """Give a workspace the teachers of another one, so that none is trained again."""
    shutil.copytree(whole[0] / "teachers", workspace / "teachers")


class Stop(Progress):
    """Interrupts the process after some epochs of trials."""

    def __init__(self, after: int):
        self.left = after

    def epoch(self, cell: str, *_: Any) -> None:
        if "trial" in cell:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
