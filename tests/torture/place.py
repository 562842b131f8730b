"""A study with its images and workspace, the commands that make it, and what they must make."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.records.layout import CellFiles
from benchmark.report import files
from tests.support.commandline import in_mlflow
from tests.support.datasources import class_folders
from tests.support.studies import bits, folders, plan, tiny, write_study
from tests.torture.forks import Ended, kdbench
from tests.training.rows import row

ROWS = ("student", "kd", "ab", "crd")
"""Methods without state, with a stage of their own before the training, and with memory banks."""

STUDY = "tiny"
STEPS = ("run", "tune", "sync", "leaderboard")
"""The commands that make a place, in their order."""


_LOCAL = ("--no-track", "--device", "cpu", "--checkpoint-minutes", "0")


@dataclass(frozen=True)
class Place:
    """A folder with everything that belongs to one study.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def study(self) -> Path:
        """The study file."""
        return self.path / "tiny.yaml"

    @property
    def workspace(self) -> Path:
        """The workspace."""
        return self.path / "runs"

    @property
    def results(self) -> Path:
        """Where the leaderboard is written."""
        return self.path / "results"

    @property
    def inline(self) -> dict[str, str]:
        """Variables that let a command train in its own process."""
        return {"KDBENCH_EXECUTOR": "inline"}

    def lay_out(self) -> None:
        """Write the study and its images, and remove everything else."""
        shutil.rmtree(self.path, ignore_errors=True)
        class_folders(self.path / "images", (("train", 20), ("test", 6)), width=8, height=8)
        write_study(self.study, content(self.path))

    def start_anew(self) -> None:
        """Remove what commands have made."""
        for folder in (self.workspace, self.results):
            shutil.rmtree(folder, ignore_errors=True)

    def words(self, step: str) -> tuple[Any, ...]:
        """Return the command line of a command."""
        more: dict[str, tuple[Any, ...]] = {
            "run": _LOCAL,
            "tune": _LOCAL,
            "leaderboard": ("--results", self.results),
        }
        return ("--workspace", self.workspace, step, self.study, *more.get(step, ()))

    def do(self, step: str, *more: Any, **options: Any) -> Ended:
        """Run a command, training in its process."""
        return self.command(*self.words(step), *more, **options)

    def command(self, *words: Any, **options: Any) -> Ended:
        """Run any command, training in its process."""
        environment = {**self.inline, **options.pop("environment", {})}
        return kdbench(self.path / "output", *words, environment=environment, **options)

    def state(self, *, tracked: bool = True, searched: bool = True) -> dict[str, Any]:
        """Return all that does not depend on the clock, by what it is about.

        Args:
            tracked: Whether the runs in MLflow and the leaderboard are part of it.
            searched: Whether the search is part of it.
        """
        found: dict[str, Any] = {f"cell {name}": _cell(path) for name, path in self.cells().items()}
        found |= {
            f"teacher {path.name}": _sha256(CellFiles(path).weights)
            for path in sorted((self.workspace / "teachers").iterdir())
            if path.is_dir()
        }
        found["plan"] = [
            (cell["row"], cell["seed"], cell["id"]) for cell in plan(self.workspace)["cells"]
        ]
        if searched:
            found |= self._searches()
        if tracked:
            found["MLflow"] = sorted(map(_run, in_mlflow(self.workspace)), key=repr)
            found |= {
                f"leaderboard {path.name}": _sha256(path)
                for path in sorted((self.results / STUDY).glob("*"))
                if path.name not in files.MACHINE_DEPENDENT and not path.name.startswith(".")
            }
        return found

    def cells(self) -> dict[str, Path]:
        """Return the folders of the cells by "row/seed"."""
        return folders(self.workspace)

    def _searches(self) -> dict[str, Any]:
        folder = self.workspace / STUDY / "search"
        found: dict[str, Any] = {}
        for path in sorted(folder.glob("*.json")):
            record = json.loads(path.read_text())
            if "trials" in record:
                found[f"search {path.name}"] = [_trial(trial) for trial in record["trials"]]
        return found


def content(folder: Path) -> dict[str, Any]:
    """Return the study."""
    return tiny(
        [row(name) for name in ROWS],
        dataset={"name": "folder/images", "root": str(folder)},
        split={"val": 12, "train_samples": 48},
        recipe={"batch_size": 8},
        select="best_val",
        plugins=["tests.support.networks"],
        seeds=[0, 1],
        search={"trials": 3, "seeds": [100], "together": 2, "lr": [0.01, 0.1]},
    )


def _cell(folder: Path) -> dict[str, Any]:
    return {**bits(folder), "weights": _sha256(CellFiles(folder).weights)}


def _run(run: dict[str, Any]) -> tuple[Any, ...]:
    accuracies = (run.get("test/acc1"), run.get("val/acc1"))
    return (run["method"], run["seed"], run["status"], run.get("kdbench.kind"), accuracies)


def _trial(trial: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in trial.items() if "time" not in key and "seconds" not in key
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
