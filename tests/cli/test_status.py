"""What `kdbench status` says before, during and after training."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.helpers import COUNT
from tests.support.commandline import in_mlflow, kdbench
from tests.support.studies import Interrupt, Tracked, plan, run, tiny

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
