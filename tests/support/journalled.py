"""Writes a small study's folder as a run does, and reads its runs from an MLflow store."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.files import write_json
from benchmark.records.layout import CellFiles, StudyFolder, Workspace
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher, write_plan
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.projection import Synced
from benchmark.tracking.store import Store, open_store
from tests.support.records import append

ROOT = Path(__file__).parents[2]

START = 1_700_000_000_000
"""Start time of cells, in milliseconds since 1970."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "student": {},
    "kd": {"temperature": 4.0, "weight": 0.9, "ce": 0.1},
    "kd (tuned)": {"temperature": 2.0, "weight": 0.5, "ce": 0.5},
    "kd+at": {"kd": {"temperature": 4.0}, "at": {"beta": 1000.0, "p": 2}, "ce": 1.0},
}
"""Settings by row."""

ACCURACY = {"student": 90.0, "kd": 92.0, "kd (tuned)": 92.5, "kd+at": 93.0, "teacher": 97.0}
"""Test accuracy by row, for seed 0."""

FINGERPRINT = "d6f57effa93d" + "0" * 52
"""Fingerprint of the data set."""

TEACHER_SHA256 = "f" * 64
"""SHA-256 of the teacher's weights."""

CANARY = "canary-9f3b"
"""A password that no output may contain."""


class Study:
    """A study's folder, written step by step as by a run."""

    def __init__(
        self,
        workspace: Path,
        name: str = "small",
        rows: Sequence[str] = ("student", "kd"),
        seeds: Sequence[int] = (0,),
    ):
        self.files = StudyFolder(workspace / name)
        self.folder.mkdir(parents=True)
        teacher = PlannedTeacher(
            id="t" * 12,
            folder=f"teachers/{'t' * 12}",
            pairs=("a-b",),
            model="resnet18",
            seed=0,
            teacher_id="f" * 12,
            recipe={"epochs": 2, "lr": 0.05},
        )
        self.plan = Plan(
            study=name,
            question="Which is best?",
            pairs=("a-b",),
            methods=tuple(rows),
            seeds=tuple(seeds),
            select="last",
            baseline="student" if "student" in rows else None,
            datasets={"a-b": "digits"},
            experiment=f"kd/{name}",
            teachers=(teacher,),
            cells=tuple(self.cell(row, seed) for seed in seeds for row in rows),
        )
        write_plan(self.files.plan, self.plan)
        write_json(self.files.split, {"train": [0, 1], "val": [2]})
        self.files.study_file.write_text("name: small\n")

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.files.path

    @staticmethod
    def cell(row: str, seed: int = 0) -> PlannedCell:
        """Return the planned cell of a row."""
        identity = f"{row}-{seed}".encode().hex()[:12].ljust(12, "0") + str(seed)
        return PlannedCell(
            id=identity,
            folder=f"cells/{identity}",
            pair="a-b",
            row=row,
            method=row,
            settings=SETTINGS[row],
            seed=seed,
            teacher="resnet18",
            teacher_id="f" * 12,
            student="test_byobnet",
            recipe={"epochs": 2, "batch_size": 32, "lr": 0.05},
        )

    def change_plan(self, **changes: Any) -> None:
        """Replace fields of the plan, and write it."""
        self.plan = dataclasses.replace(self.plan, **changes)
        write_plan(self.files.plan, self.plan)

    def change_teacher(self, **changes: Any) -> None:
        """Replace fields of the planned teacher, and write the plan."""
        self.change_plan(teachers=(dataclasses.replace(self.plan.teachers[0], **changes),))

    def cell_files(self, row: str, seed: int = 0) -> CellFiles:
        """Return the files of a cell, or of the teacher."""
        entry = self.plan.teachers[0] if row == "teacher" else self.cell(row, seed)
        return self.files.files(entry.folder)

    def start(
        self, row: str, seed: int = 0, at: int = START, epoch: int = 0, **environment: str
    ) -> None:
        """Start a training, or resume it at an epoch."""
        files = self.cell_files(row, seed)
        files.path.mkdir(parents=True, exist_ok=True)
        write_json(files.config, configuration(row))
        environment = {"python": "3.11", "git_commit": "abc", **environment}
        self.add(row, seed, "start", time=at, epoch=epoch, environment=environment)

    def add(self, row: str, seed: int, kind: str, **content: Any) -> None:
        """Append a record to a journal."""
        append(self.cell_files(row, seed).journal, kind, **content)

    def epoch(self, row: str, number: int, seed: int = 0, at: int = START) -> None:
        """Finish an epoch."""
        metrics = {"loss/total": 1.0 / (number + 1), "val/acc1": 50.0 + number}
        moment = at + 1000 * (number + 1)
        self.add(row, seed, "epoch", time=moment, epoch=number, metrics=metrics)

    def final(self, row: str, seed: int = 0, at: int = START) -> None:
        """Finish a training of two epochs."""
        digest = TEACHER_SHA256 if row == "teacher" else f"{seed}" * 64
        self.add(row, seed, "trained", time=at + 8000, epoch=1, sha256=digest)
        metrics = {"test/acc1": ACCURACY[row] + seed, "test/f1": 0.9, "cost/params": 1e4}
        self.add(row, seed, "final", time=at + 9000, metrics=metrics)

    def train(self, row: str, seed: int = 0, at: int = START) -> None:
        """Train a cell from start to end."""
        self.start(row, seed, at)
        self.epoch(row, 0, seed, at)
        self.epoch(row, 1, seed, at)
        self.final(row, seed, at)

    def finish(self) -> Study:
        """Train the teacher and all cells."""
        self.train("teacher")
        for cell in self.plan.cells:
            self.train(cell.row, cell.seed)
        return self


def configuration(row: str) -> dict[str, Any]:
    """Return the parts of a configuration that MLflow shows."""
    split = {"val": 0.2, "seed": 0}
    data = {"source": {"name": "digits"}, "fingerprint": FINGERPRINT, "split": split}
    teacher = {} if row == "teacher" else {"teacher": {"sha256": TEACHER_SHA256}}
    return {"row": row, "data": data, "recipe": {}, **teacher}


def find_models(store: Store, study: str = "small") -> dict[str, Any]:
    """Return the models of a study by name."""
    client = mlflow_client(store)
    experiment = client.get_experiment_by_name(f"kd/{study}")
    models = client.search_logged_models([experiment.experiment_id])
    assert len({model.name for model in models}) == len(models)
    return {model.name: model for model in models}


def store_from(template: Path, folder: Path) -> Store:
    """Return a store in a folder, copied from the template."""
    shutil.copy(template, Workspace(folder).database)
    return open_store(folder, None)


def mlflow_client(store: Store) -> Any:
    """Return MLflow's own client, independent of kdbench's."""
    return import_mlflow().MlflowClient(store.uri)


def find_runs(store: Store, condition: str = "", study: str = "small") -> list[Any]:
    """Return the runs of a study that meet a condition."""
    client = mlflow_client(store)
    experiment = client.get_experiment_by_name(f"kd/{study}")
    return list(client.search_runs([experiment.experiment_id], condition))


def find_run(store: Store, row: str, kind: str = "run", study: str = "small") -> Any:
    """Return the only run of a row."""
    condition = f"tags.method = '{row}' and tags.`kdbench.kind` = '{kind}'"
    (run,) = find_runs(store, condition, study)
    return run


def history(store: Store, run: Any, key: str) -> list[tuple[int, int, float]]:
    """Return the step, time and value of each point of a run's metric."""
    points = mlflow_client(store).get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.timestamp, point.value) for point in points)


def file_names(store: Store, run: Any) -> set[str]:
    """Return the names of a run's files."""
    return {file.path for file in mlflow_client(store).list_artifacts(run.info.run_id)}


def snapshot(store: Store, study: str = "small") -> dict[str, dict[str, Any]]:
    """Return everything that MLflow stores about a study's runs, by id."""
    return {
        run.info.run_id: {
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "tags": run.data.tags,
            "params": run.data.params,
            "metrics": {key: history(store, run, key) for key in run.data.metrics},
            "files": file_names(store, run),
            "inputs": [entry.to_dictionary() for entry in run.inputs.dataset_inputs],
        }
        for run in find_runs(store, study=study)
    }


def counts(synced: Synced) -> tuple[int, int, int]:
    """Return the numbers of runs created, updated and unchanged."""
    return (synced.created, synced.updated, synced.unchanged)


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another interpreter in which warnings are errors."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


SYNC = """
import sys
from pathlib import Path

from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync

for folder in map(Path, sys.argv[1:]):
    sync(folder, open_store(folder.parent, None))
"""
"""Code that syncs the studies in the folders given as arguments."""


def output_of(process: subprocess.Popen[str]) -> str:
    """Return the output of a process, which must succeed without a message on stderr."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return output
