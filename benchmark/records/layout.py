"""Every file name of a workspace, in one place.

    runs/                        Workspace
      workspace.json               identity of the workspace
      mlflow.db  artifacts/        MLflow's local store, and the files of its runs
      data/                        decoded data sets
      data/teacher-outputs/<key>/  outputs of a teacher for fixed views, by view and tap
      teachers/<key>/              stored teachers: CellFiles with a card
      remembered/                  runs read from MLflow, cached for the next table
      <study>/                   StudyFolder
        plan.json  study.yaml  split.json  handmade.json  intact.json
        workers/<n>.beat           what each worker process is doing
        cells/<identity>/          CellFiles of a student
        forgotten/<identity>-<n>/  CellFiles of a student that was forgotten
        teachers/<key>/            CellFiles of a teacher's record
        profiles/                  traces of `kdbench run --profile`
        search/                  SearchFolder: a study folder of trials, with
          optuna.db  <key>.json  <key>/*.png

Nothing here reads or writes files; `benchmark.locks` defines its own file names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

JOURNAL = "journal.jsonl"
WEIGHTS = "student.safetensors"
CHECKPOINT = "checkpoint-"
INTACT = "intact.json"


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell or teacher."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration whose hash is the cell's identity."""
        return self.path / "config.json"

    @property
    def code(self) -> Path:
        """Digests of the code, for configurations of versions that recorded none."""
        return self.path / "code.json"

    @property
    def journal(self) -> Path:
        """The append-only journal."""
        return self.path / JOURNAL

    @property
    def done(self) -> Path:
        """The marker of a finished cell."""
        return self.path / "done.json"

    @property
    def weights(self) -> Path:
        """The weights that were evaluated."""
        return self.path / WEIGHTS

    @property
    def best(self) -> Path:
        """The weights of the best validation epoch so far."""
        return self.path / "best.safetensors"

    @property
    def best_marker(self) -> Path:
        """Epoch and digest of `best`."""
        return self.path / "best.json"

    @property
    def error(self) -> Path:
        """The traceback of the last failure."""
        return self.path / "error.txt"

    @property
    def card(self) -> Path:
        """The card of a stored teacher."""
        return self.path / "card.json"

    def checkpoint(self, epoch: int, step: int = 0) -> Path:
        """Return the tensor file of a checkpoint.

        Args:
            epoch: Number of the epoch.
            step: Number of batches in it that are trained; 0 for the whole epoch.
        """
        inside = f"-{step:07d}" if step else ""
        # By name, a checkpoint inside an epoch comes before that of the whole epoch.
        return self.path / f"{CHECKPOINT}{epoch:05d}{inside}.safetensors"

    def checkpoint_marker(self, epoch: int, step: int = 0) -> Path:
        """Return the JSON file that makes a checkpoint valid; see `checkpoint`."""
        return self.checkpoint(epoch, step).with_suffix(".json")

    def checkpoint_markers(self) -> list[Path]:
        """Return the JSON files of all checkpoints, newest first."""
        return sorted(self.path.glob(f"{CHECKPOINT}*.json"), reverse=True)

    def checkpoint_tensors(self, marker: Path) -> Path:
        """Return the tensor file of the checkpoint that a marker makes valid."""
        return marker.with_suffix(".safetensors")

    def temporary(self) -> list[Path]:
        """Return the files that are needed only until the cell is finished."""
        patterns = (f"{CHECKPOINT}*", "best.*", ".*.part")
        return [path for pattern in patterns for path in self.path.glob(pattern)]


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study in a workspace."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan: what the study compares, and the identity of each cell."""
        return self.path / "plan.json"

    @property
    def study_file(self) -> Path:
        """A copy of the study's YAML file."""
        return self.path / "study.yaml"

    @property
    def split(self) -> Path:
        """The indices of the training and validation samples."""
        return self.path / "split.json"

    def heartbeat(self, worker: int) -> Path:
        """Return the file that tells what a worker process is doing, or was when it died."""
        return self.path / "workers" / f"{worker}.beat"

    def crash(self, worker: int) -> Path:
        """Return the file that tells where the threads of a worker were when it crashed."""
        return self.path / "workers" / f"{worker}.crash"

    @property
    def profiles(self) -> Path:
        """The folder of traces, one per cohort, and their summaries."""
        return self.path / "profiles"

    @property
    def sync_lock(self) -> Path:
        """The lock held by the process that writes the study's runs to MLflow."""
        return self.path / "sync.lock"

    @property
    def cells(self) -> Path:
        """The folder of all cells."""
        return self.path / "cells"

    @property
    def search(self) -> SearchFolder:
        """The folder of the study's searches."""
        return SearchFolder(self.path / "search")

    @property
    def handmade(self) -> Path:
        """Tags of an imported study's runs that wait to be written to MLflow."""
        return self.path / "handmade.json"

    @property
    def intact(self) -> Path:
        """Sizes and times of the files of finished cells that were found intact."""
        return self.path / INTACT

    def cell(self, identity: str) -> CellFiles:
        """Return the files of a cell."""
        return CellFiles(self.cells / identity)

    def cells_on_disk(self) -> list[CellFiles]:
        """Return the files of every cell that has a folder, planned or not."""
        return [CellFiles(path) for path in sorted(self.cells.glob("*/"))]

    def teachers_on_disk(self) -> list[CellFiles]:
        """Return the files of every teacher of which the study has a record."""
        return [CellFiles(path) for path in sorted((self.path / "teachers").glob("*/"))]

    @property
    def forgotten(self) -> Path:
        """The folder of cells that were set aside, to be trained again."""
        return self.path / "forgotten"

    def set_aside(self, identity: str) -> CellFiles:
        """Return a new place for the files of a cell that is to be trained again."""
        numbers = itertools.count(1)
        places = (self.forgotten / f"{identity}-{number}" for number in numbers)
        return CellFiles(next(place for place in places if not place.exists()))

    def teacher(self, key: str) -> CellFiles:
        """Return the files of the study's own record of a teacher."""
        return CellFiles(self.path / "teachers" / key)

    def files(self, relative: str) -> CellFiles:
        """Return the files of an entry of the plan, whose `folder` is relative to this folder."""
        return CellFiles(self.path / relative)

    def relative(self, files: CellFiles) -> str:
        """Return the `folder` of an entry of the plan, the inverse of `files`."""
        return files.path.relative_to(self.path).as_posix()

    def journals(self) -> Iterator[Path]:
        """Yield the journals of all cells and teachers."""
        return self.path.glob(f"*/*/{JOURNAL}")


@dataclass(frozen=True)
class SearchFolder(StudyFolder):
    """The folder of a study's searches. Its cells belong to trials."""

    @property
    def database(self) -> Path:
        """Optuna's database, unless another storage is chosen."""
        return self.path / "optuna.db"

    def record(self, key: str) -> Path:
        """Return the record of one search."""
        return self.path / f"{key}.json"

    def records(self) -> list[Path]:
        """Return the records of all searches."""
        return sorted(self.path.glob(f"{'[0-9a-f]' * 12}.json"))

    def figures(self, key: str) -> Path:
        """Return the folder of one search's figures."""
        return self.path / key


@dataclass(frozen=True)
class Workspace:
    """A folder with studies, their teachers, decoded data, and a local MLflow store."""

    path: Path

    @property
    def database(self) -> Path:
        """The database of the local MLflow store."""
        return self.path / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The folder for the files of runs in the local MLflow store."""
        return self.path / "artifacts"

    @property
    def data(self) -> Path:
        """The folder of decoded data sets."""
        return self.path / "data"

    @property
    def teacher_outputs(self) -> Path:
        """The folder of stored outputs of teachers, by teacher and views."""
        return self.data / "teacher-outputs"

    @property
    def teachers(self) -> Path:
        """The folder of stored teachers."""
        return self.path / "teachers"

    @property
    def run_cache(self) -> Path:
        """The folder of runs that were read from MLflow."""
        return self.path / "remembered"

    @property
    def identity(self) -> Path:
        """The identity of the workspace, and where it was used."""
        return self.path / "workspace.json"

    @property
    def identity_lock(self) -> Path:
        """The lock held by the process that gives the workspace its identity."""
        return self.path / "workspace.lock"

    @property
    def import_lock(self) -> Path:
        """The lock held by the process that imports a study."""
        return self.path / ".import.lock"

    def study(self, name: str) -> StudyFolder:
        """Return the folder of a study."""
        return StudyFolder(self.path / name)

    def studies(self) -> list[str]:
        """Return the names of the studies that have a plan, sorted."""
        return sorted(path.parent.name for path in self.path.glob("*/plan.json"))
