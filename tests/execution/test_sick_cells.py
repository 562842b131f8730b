"""A cell that ends or blocks its process ends alone, and its companions have the same bits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.execution import environment, prepare
from benchmark.execution import run as execution_run
from benchmark.execution.executors.processes import ProcessesExecutor
from benchmark.execution.run import Summary
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.study import study as study_study
from benchmark.training.progress import Progress
from tests.support import sick
from tests.support.commandline import launched, until
from tests.support.datasources import class_folders
from tests.support.plugged import clean
from tests.support.sick import sick_row, sick_study
from tests.support.studies import Listening, bits, folders, records, run, write_study

__all__ = ["clean"]

pytestmark = [pytest.mark.trains, pytest.mark.subprocess, pytest.mark.usefixtures("clean")]

COMPANIONS = ("student", "kd", "crd", "dml")
OUT_OF_MEMORY = "the process was killed by SIGKILL (perhaps out of memory) in epoch 2, step 2"
SICK = "pair / sick / seed 0"


@pytest.fixture(autouse=True)
def _counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sick method count what it did in a file of the test."""
    monkeypatch.setenv("SICK_COUNT", str(tmp_path / "count"))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bits of the companions in a study without the sick method, trained in this process."""
    workspace = tmp_path_factory.mktemp("healthy")
    rows = [*COMPANIONS]
    content = sick_study(workspace, rows)
    content["plugins"] = []
    assert not run(workspace, content).failed
    return {name: bits(folder) for name, folder in folders(workspace).items()}


@pytest.fixture
def process() -> Iterator[ProcessesExecutor]:
    """An executor whose worker process ends with the test."""
    executor = ProcessesExecutor(1)
    yield executor
    executor.close()


def run_in(
    executor: ProcessesExecutor,
    workspace: Path,
    content: dict[str, Any],
    progress: Progress | None = None,
    step_minutes: float = 5.0,
) -> Summary:
    """Run a study with an executor, on one thread."""
    path = write_study(workspace / "study.yaml", content)
    loaded, device = study_study.load(path, methods), torch.device("cpu")
    files = Workspace(workspace)
    prepared = prepare.prepare(loaded, path.read_text(), str(path), device, files, print)
    known = environment.environment(device)
    progress = progress or Progress()
    session = Session(files, str(path), device, known, progress, executor, step_minutes)
    return execution_run.run(prepared, session)


def assert_companions_are_healthy(workspace: Path, healthy: dict[str, Any]) -> None:
    found = folders(workspace)
    assert {name: bits(found[name]) for name in healthy} == healthy


def test_a_worker_process_trains_to_the_bits_of_this_process(
    process: ProcessesExecutor, healthy: dict[str, Any], workspace: Path
) -> None:
    content = sick_study(workspace, COMPANIONS)
    assert run_in(process, workspace, content) == Summary(planned=4, trained=4)
    assert_companions_are_healthy(workspace, healthy)


def slow(*values: Any) -> Any:
    """Leave out one of many similar cases: each starts three processes."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        slow(sick.EXIT_0, "the process exited with code 0 in epoch 2, step 2"),
        slow(sick.EXIT_3, "the process exited with code 3 in epoch 2, step 2"),
        (sick.SEGFAULT, "the process was killed by SIGSEGV in epoch 2, step 2"),
        slow(
            sick.KILL,
            "the process was killed by SIGKILL (perhaps out of memory) in epoch 2, step 2",
        ),
        pytest.param(
            sick.ABORT,
            "the process was killed by SIGABRT in epoch 2, step 2",
            marks=pytest.mark.slow,
        ),
        slow(sick.HANG, "the process made no progress for 0.05 minutes in epoch 2, step 2"),
    ],
)
def test_a_cell_that_ends_its_process_is_tried_again_alone_and_fails_with_the_reason(
    way: int, reason: str, process: ProcessesExecutor, healthy: dict[str, Any], workspace: Path
) -> None:
    first, *others = COMPANIONS
    content = sick_study(workspace, [first, sick_row(way), *others])
    listening = Listening()
    summary = run_in(process, workspace, content, listening, step_minutes=0.05)

    assert summary == Summary(planned=5, trained=4, failed={SICK: reason})
    assert listening.warnings == [f"{SICK}: {reason}; it is tried again, alone"]
    assert_companions_are_healthy(workspace, healthy)

    failed = folders(workspace)["sick/0"]
    kinds = [record["kind"] for record in records(failed, "failed") + records(failed, "start")]
    assert kinds == ["failed", "failed", "start", "start"]
    assert [record["epoch"] for record in records(failed, "start")] == [0, 1]
    if way in (sick.SEGFAULT, sick.ABORT, sick.HANG):
        assert "sick_methods.py" in (failed / "error.txt").read_text()


@pytest.mark.parametrize("way", [sick.SYSTEM_EXIT, sick.UNUSUAL])
@pytest.mark.parametrize("building", [0, 1])
def test_a_method_that_exits_in_this_process_fails_its_cell_alone(
    way: int, building: int, healthy: dict[str, Any], workspace: Path
) -> None:
    first, *others = COMPANIONS
    content = sick_study(workspace, [first, sick_row(way, building=building), *others])
    reason = {sick.SYSTEM_EXIT: "SystemExit: 4", sick.UNUSUAL: "Unusual: not an Exception"}[way]
    assert run(workspace, content) == Summary(planned=5, trained=4, failed={SICK: reason})
    assert_companions_are_healthy(workspace, healthy)


@pytest.mark.slow
def test_a_cell_that_ends_its_process_once_finishes_with_the_bits_of_a_healthy_one(
    process: ProcessesExecutor, workspace: Path
) -> None:
    well = sick_study(workspace, [sick_row(sick.SEGFAULT, times=0)], name="well")
    run(workspace, well)

    content = sick_study(workspace, ["student", sick_row(sick.SEGFAULT, times=1)])
    assert run_in(process, workspace, content) == Summary(planned=2, trained=2)
    assert bits(folders(workspace)["sick/0"]) == bits(folders(workspace, "well")["sick/0"])


@pytest.mark.slow
def test_what_a_cell_has_started_neither_hides_its_end_nor_outlives_it(
    process: ProcessesExecutor, workspace: Path, tmp_path: Path
) -> None:
    content = sick_study(workspace, [sick_row(sick.CHILD)])
    summary = run_in(process, workspace, content, step_minutes=0.2)
    reason = "the process exited with code 3 in epoch 2, step 2"
    assert summary == Summary(planned=1, failed={SICK: reason})
    child = int((tmp_path / "child").read_text())
    until(lambda: has_ended(child), seconds=10)


def has_ended(process: int) -> bool:
    """Return whether a process is gone; one that nobody has waited for is gone as well."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.slow
def test_a_cell_that_ends_its_process_while_it_is_built_ends_alone(
    process: ProcessesExecutor, healthy: dict[str, Any], workspace: Path
) -> None:
    content = sick_study(workspace, [*COMPANIONS, sick_row(sick.EXIT_3, building=1)])
    summary = run_in(process, workspace, content)
    reason = "the process exited with code 3 while the cell was built"
    assert summary == Summary(planned=5, trained=4, failed={SICK: reason})
    assert_companions_are_healthy(workspace, healthy)


@pytest.mark.slow
def test_a_teacher_that_ends_its_process_ends_the_cells_of_its_pair_alone(
    process: ProcessesExecutor, healthy: dict[str, Any], workspace: Path
) -> None:
    content = sick_study(workspace, ["student", "kd"], plugins=["./sick_networks.py"])
    (pair,) = content["pairs"]
    teacher = {**pair["teacher"], "model": sick.SICK_NETWORK}
    content["pairs"] = [{**pair, "name": "sick", "teacher": teacher}, pair]

    listening = Listening()
    summary = run_in(process, workspace, content, listening)
    died = "the process exited with code 9 in epoch 1, step 2"
    reason = f"pairs[0].teacher: {sick.SICK_NETWORK} could not be trained: {died}"
    assert summary.failed == dict.fromkeys(
        ["sick / student / seed 0", "sick / kd / seed 0"], reason
    )
    assert (summary.planned, summary.trained) == (4, 2)
    assert listening.warnings[-1] == f"{reason}; no student of this teacher is trained"

    found = folders(workspace)
    assert {name: bits(found[name]) for name in found} == {
        name: healthy[name] for name in ("student/0", "kd/0")
    }


@pytest.mark.slow
def test_a_worker_process_trains_on_images_that_processes_of_its_own_decode(
    process: ProcessesExecutor, workspace: Path
) -> None:
    pictures = workspace / "pictures"
    class_folders(pictures, (("train", 24), ("test", 4)), width=40, height=40)
    dataset = {"name": "folder/pictures", "root": str(workspace), "loading": "streamed"}
    content = sick_study(workspace, ["student", "kd"], split={"val": 6})
    content["dataset"] = {**dataset, "image_size": 32, "workers": 2}
    for recipe in (content["recipe"], content["pairs"][0]["teacher"]["recipe"]):
        recipe["augmentation"] = {"flip": True}
    assert run_in(process, workspace, content, step_minutes=1) == Summary(planned=2, trained=2)


PARENT = """
import time
from benchmark.execution.worker_handle import WorkerHandle

worker = WorkerHandle(0)
print(worker._process.pid, flush=True)
time.sleep({seconds})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("seconds", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_a_worker_ends_with_its_parent_at_once_even_while_it_starts(seconds: int) -> None:
    command = [sys.executable, "-c", PARENT.format(seconds=seconds)]
    with launched(command=command) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        is_running = not has_ended(worker)
        parent.kill()
        assert is_running
        until(lambda: has_ended(worker), seconds=30)


@pytest.mark.slow
def test_two_sick_cells_of_a_cohort_both_fail_and_the_others_finish(
    process: ProcessesExecutor, healthy: dict[str, Any], workspace: Path
) -> None:
    sick_rows = [
        {**sick_row(way), "name": name} for name, way in (("one", sick.EXIT_3), ("two", sick.ABORT))
    ]
    content = sick_study(workspace, [sick_rows[0], *COMPANIONS, sick_rows[1]])
    summary = run_in(process, workspace, content)
    assert summary.trained == len(COMPANIONS)
    assert sorted(summary.failed) == ["pair / one / seed 0", "pair / two / seed 0"]
    assert_companions_are_healthy(workspace, healthy)


@pytest.mark.slow
def test_a_failed_cell_is_tried_again_by_the_next_run_and_finishes_once_it_is_cured(
    process: ProcessesExecutor, workspace: Path
) -> None:
    content = sick_study(workspace, ["student", sick_row(sick.KILL, times=2)])
    assert list(run_in(process, workspace, content).failed) == [SICK]
    assert run_in(process, workspace, content) == Summary(planned=2, trained=1, already_done=1)
