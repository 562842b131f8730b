"""Several workers at once: the bits of one process, whatever dies on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.execution.executors.processes import ProcessesExecutor
from benchmark.execution.run import Summary
from tests.search.helpers import searched, searching, trials
from tests.support import sick
from tests.support.plugged import clean
from tests.support.sick import sick_row, sick_study
from tests.support.studies import Listening, bits, folders, run

__all__ = ["clean"]

pytestmark = [pytest.mark.trains, pytest.mark.subprocess, pytest.mark.usefixtures("clean")]

ROWS = ("student", "kd", "crd", "ab", "dml")


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> Iterator[ProcessesExecutor]:
    """An executor whose workers end with the test: two, or as many as its parameter says."""
    own = ProcessesExecutor(getattr(request, "param", 2))
    yield own
    own.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bits of all cells when they are trained in this process."""
    workspace = tmp_path_factory.mktemp("alone")
    content = study(workspace)
    content["plugins"] = []  # this process has their networks
    assert not run(workspace, content).failed
    return {name: bits(folder) for name, folder in folders(workspace).items()}


def study(workspace: Path, rows: tuple[Any, ...] = ROWS) -> dict[str, Any]:
    """Return a study of two seeds."""
    return sick_study(workspace, rows, seeds=[0, 1])


def assert_equal(workspace: Path, alone: dict[str, Any]) -> None:
    found = folders(workspace)
    assert {name: bits(found[name]) for name in alone} == alone


@pytest.mark.parametrize("executor", [2, pytest.param(3, marks=pytest.mark.slow)], indirect=True)
def test_cohorts_that_are_trained_at_once_have_the_bits_of_one_process(
    executor: ProcessesExecutor, alone: dict[str, Any], workspace: Path
) -> None:
    count = len(ROWS) * 2
    assert run(workspace, study(workspace), executor=executor) == Summary(count, count)
    assert_equal(workspace, alone)
    assert len([*workspace.glob("tiny/workers/*.beat")]) == executor.workers
    assert not list(workspace.glob("tiny/workers/*.crash"))


@pytest.mark.slow
def test_a_sick_cell_ends_alone_while_other_workers_go_on(
    executor: ProcessesExecutor,
    alone: dict[str, Any],
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SICK_COUNT", str(tmp_path / "count"))
    listening = Listening()
    content = study(workspace, (*ROWS, sick_row(sick.SEGFAULT)))
    summary = run(workspace, content, listening, executor=executor)
    assert summary.trained == len(ROWS) * 2
    assert {*summary.failed} == {f"pair / sick / seed {seed}" for seed in (0, 1)}
    assert len(listening.warnings) == 2
    assert_equal(workspace, alone)


class Killing(Listening):
    """Kills a worker after some epochs of students."""

    def __init__(self, executor: ProcessesExecutor, after: tuple[int, ...]):
        super().__init__()
        self._executor = executor
        self._after = after
        self.epochs = 0

    def epoch(self, cell: str, *_: Any) -> None:
        """Count an epoch; kill the workers in turn."""
        if cell.startswith("teacher"):
            return
        self.epochs += 1
        if self.epochs in self._after:
            pool = [worker for _, worker in sorted(self._executor._pool.items())]
            victim = pool[self.epochs % len(pool)]
            os.kill(victim._process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("after", [(1,), (2,), (4,), (7,), (11,)])
def test_a_killed_worker_is_replaced_and_changes_no_bit(
    after: tuple[int, ...], executor: ProcessesExecutor, alone: dict[str, Any], workspace: Path
) -> None:
    killing = Killing(executor, after)
    summary = run(workspace, study(workspace), killing, executor=executor)
    assert summary.trained == len(ROWS) * 2
    assert not summary.failed
    assert len(killing.warnings) >= len(after)
    assert_equal(workspace, alone)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["none", "median", "hyperband"])
def test_a_search_makes_the_same_trials_whatever_the_number_of_workers(
    pruner: str, executor: ProcessesExecutor, workspace: Path, tmp_path: Path
) -> None:
    search = {"trials": 6, "together": 3, "seeds": [100, 101], "pruner": pruner, "lr": [0.01, 0.5]}
    content = searched(["student", "kd"], search=search, recipe={"epochs": 3, "augmentation": {}})
    content["plugins"] = ["tests.support.networks"]
    searching(tmp_path / "alone", content)
    searching(workspace, content, executor=executor)
    assert trials(workspace) == trials(tmp_path / "alone")
