"""What `kdbench status` says before, during and after training."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.helpers import COUNT
from tests.support.commandline import in_mlflow, kdbench
from tests.support.datasources import class_folders
from tests.support.studies import Interrupt, Tracked, plan, run, tiny, write_study

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


def test_status_shows_every_cell_of_a_finished_study_as_done(tracked: Tracked) -> None:
    found = kdbench("--workspace", tracked.workspace, "status", tracked.study)
    head, _, teacher, *cells = found.out.splitlines()
    assert head == f"tiny: {COUNT} of {COUNT} cells done, not running"
    assert teacher.split()[:2] + teacher.split()[4:6] == ["pair", "teacher", "done", "1/1"]
    test = {
        (run["method"], run["seed"]): f"{run['test/acc1']:.2f}"
        for run in in_mlflow(tracked.workspace)
    }
    seen = [line.split() for line in cells]
    planned = [
        (cell["row"], str(cell["seed"]), cell["id"]) for cell in plan(tracked.workspace)["cells"]
    ]
    assert [tuple(cell[1:4]) for cell in seen] == planned
    assert all(cell[4:6] == ["done", "2/2"] and cell[7] == test[cell[1], cell[2]] for cell in seen)


def test_status_before_between_and_during_the_training_of_cells(workspace: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(workspace, tiny(["student", "kd"]), Interrupt(after=2))

    def states() -> list[str]:
        head, _, *lines = kdbench("--workspace", workspace, "status", "tiny").out.splitlines()
        return [head, *(" ".join(line.split()[1:2] + line.split()[4:6]) for line in lines)]

    assert states() == [
        "tiny: 0 of 2 cells done, not running",
        "teacher done 1/1",
        "student stopped 1/2",
        "kd stopped 1/2",
    ]
    with FileLock(workspace / "tiny" / "running.lock"):
        assert states()[0] == "tiny: 0 of 2 cells done, running"
        assert states()[2:] == ["student training 1/2", "kd training 1/2"]
    for folder in (workspace / "tiny" / "cells").iterdir():
        (folder / "journal.jsonl").unlink()
    assert states()[2:] == ["student waiting 0/2", "kd waiting 0/2"]


def test_status_of_a_file_shows_all_cells_that_it_asks_for_now(workspace: Path) -> None:
    """The finished cells keep their results, and rows that cannot run are told apart."""
    run(workspace, tiny(["student", "fitnet"], seeds=[0]))
    file = workspace / "study.yaml"

    def lines() -> list[str]:
        return kdbench("--workspace", workspace, "status", file).out.splitlines()

    before = lines()
    assert before[0] == "tiny: 2 of 2 cells done, not running"
    assert not any("changed" in line for line in before)

    write_study(file, tiny(["student", "kd"], seeds=[0, 1]))
    now = lines()
    assert now[:3] == [
        "tiny: 1 of 4 cells done, not running",
        "3 not started",
        f"{file} has changed since the last run; 1 cell of that run is not in it",
    ]
    assert [line.split()[1:3] + line.split()[4:6] for line in now[4:]] == [
        ["teacher", "0", "done", "1/1"],
        ["student", "0", "done", "2/2"],
        ["kd", "0", "waiting", "0/2"],
        ["student", "1", "waiting", "0/2"],
        ["kd", "1", "waiting", "0/2"],
    ]
    assert now[5].split() == before[3].split()
    named = kdbench("--workspace", workspace, "status", "tiny").out.splitlines()
    assert named[0] == "tiny: 2 of 2 cells done, not running"


def test_status_of_a_file_counts_failed_and_inapplicable_cells(workspace: Path) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    content = tiny(["student", wild, "fsp"])
    content["pairs"][0]["student"] = "test_efficientnet"
    run(workspace, content)
    reason = plan(workspace)["not_applicable"]["pair/fsp"]
    assert reason

    found = kdbench("--workspace", workspace, "status", workspace / "study.yaml").out
    assert found.splitlines()[:2] == [
        "tiny: 1 of 2 cells done, not running",
        "1 failed, 1 not applicable",
    ]
    assert found.splitlines()[-1].split()[:3] == ["pair", "fsp", "0"]


def test_status_of_a_file_that_was_never_run_plans_every_cell(here: Path, tmp_path: Path) -> None:
    """Nothing is decoded or written: data that were never read remain so."""
    folder = tmp_path / "images"
    class_folders(folder)
    file = write_study(
        tmp_path / "mine.yaml", tiny(["student", "kd"], dataset=f"folder/{folder}", seeds=[0, 1])
    )
    found = kdbench("status", file)
    assert found.code == 0
    assert found.out.splitlines()[:4] == [
        "tiny: 0 of 4 cells done, not running",
        "4 planned",
        f"cells are not known yet: the data set folder/{folder} has not been read yet",
        f"the study has not been run in {here}/runs",
    ]
    assert found.out.count(" planned ") == 4
    assert not (here / "runs").exists()


def test_status_of_a_file_finds_decoded_data_by_their_card(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    class_folders(folder)
    run(workspace, tiny(["student"], dataset=f"folder/{folder}", split={"val": 2}))
    file = workspace / "study.yaml"

    def first() -> str:
        return kdbench("--workspace", workspace, "status", file).out.splitlines()[0]

    assert first() == "tiny: 1 of 1 cell done, not running"
    (images,) = (workspace / "data").glob("*/train.images")
    images.unlink()
    assert first() == "tiny: 1 of 1 cell done, not running"
    (workspace / "data").rename(workspace / "elsewhere")
    assert first() == "tiny: 0 of 1 cell done, not running"
