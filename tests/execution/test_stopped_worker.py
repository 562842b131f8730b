"""A worker that is stopped writes what its cohort has saved, unless that takes too long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.execution import environment, prepare
from benchmark.execution import run as execution_run
from benchmark.execution.executors.processes import ProcessesExecutor
from benchmark.execution.session import Session
from benchmark.records.checkpoints import CellFolder
from benchmark.records.layout import Workspace
from benchmark.study import study
from benchmark.training.progress import Progress
from tests.support.plugged import clean
from tests.support.studies import Interrupt, folders, records, tiny, write_study

__all__ = ["clean"]

pytestmark = [pytest.mark.trains, pytest.mark.subprocess, pytest.mark.usefixtures("clean")]

SLOW_DISK = """
import time

from benchmark.records.checkpoints import CellFolder

save = CellFolder.save


def slow(folder, *arguments):
    if '"name": "kd"' in (folder.path / "config.json").read_text():
        time.sleep({seconds})
    save(folder, *arguments)


CellFolder.save = slow
"""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in is loaded in this process, too."""
    monkeypatch.setattr(CellFolder, "save", CellFolder.save)


@pytest.fixture
def process() -> Iterator[ProcessesExecutor]:
    """An executor whose worker process ends with the test."""
    executor = ProcessesExecutor(1)
    yield executor
    executor.close()


class Noting(Interrupt):
    """Ends the run after the first epoch of a student, and notes when."""

    def __init__(self) -> None:
        super().__init__(after=1)
        self.time = 0.0

    def epoch(self, cell: str, *arguments: Any) -> None:
        self.time = time.monotonic()
        super().epoch(cell, *arguments)


def run_on_slow_disk(
    executor: ProcessesExecutor, workspace: Path, seconds: float, progress: Progress
) -> None:
    """Run a study whose worker takes some time for each checkpoint of kd."""
    plugins = ["tests.support.networks", "./slow_disk.py"]
    path = write_study(workspace / "study.yaml", tiny(["student", "kd"], plugins=plugins))
    (workspace / "slow_disk.py").write_text(SLOW_DISK.format(seconds=seconds))

    loaded, device, files = study.load(path, methods), torch.device("cpu"), Workspace(workspace)
    prepared = prepare.prepare(loaded, path.read_text(), str(path), device, files, print)
    known = environment.environment(device)
    execution_run.run(prepared, Session(files, str(path), device, known, progress, executor))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "epochs"), [(0.5, 1), pytest.param(60.0, 0, marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_loses_no_epoch_that_a_worker_can_write_in_time(
    seconds: float, epochs: int, process: ProcessesExecutor, workspace: Path
) -> None:
    noting = Noting()
    with pytest.raises(KeyboardInterrupt):
        run_on_slow_disk(process, workspace, seconds, noting)

    assert time.monotonic() - noting.time < 4.5
    assert len(records(folders(workspace)["kd/0"], "epoch")) == epochs
