"""What `kdbench run` prints and leaves, with tracking and without, dry or not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import COUNT
from tests.support.commandline import Ended, ended, in_mlflow, kdbench, launched, leaderboard
from tests.support.networks import TEACHER
from tests.support.studies import ROWS, SEEDS, Tracked, plan, tiny, write_study

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


BARE = "import sys; from benchmark.cli.main import main; main()"
QUICK = "from tests.support.quick import quicken; quicken()"


@pytest.fixture(scope="module")
def untracked(tracked: Tracked, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A workspace trained by a process that cannot import MLflow, and what it printed."""
    workspace = tmp_path_factory.mktemp("untracked") / "runs"
    blocked = "sys.modules['mlflow'] = sys.modules['optuna'] = None"
    code = f"import sys; {blocked}; {QUICK}; {BARE}"
    command = [sys.executable, "-W", "error", "-c", code]
    words = ("--workspace", workspace, "run", tracked.study, "--no-track", "--device", "cpu")
    return workspace, ended(launched(*words, command=command))


def test_without_tracking_mlflow_need_not_be_there(
    untracked: tuple[Path, Ended], tracked: Tracked
) -> None:
    workspace, found = untracked
    assert (found.code, found.out) == (0, "")
    assert f"{COUNT} cells trained, 0 already done, 0 failed\n" in found.err
    assert found.err.endswith(
        f"recorded in {workspace}/tiny; run `kdbench sync {tracked.study}` to write it to MLflow\n"
    )
    assert not (workspace / "mlflow.db").exists()


def test_a_dry_run_shows_cells_cohorts_and_cost_and_writes_nothing(
    tracked: Tracked, here: Path
) -> None:
    found = kdbench("run", tracked.study, "--dry-run")
    cells = [line.split() for line in found.out.splitlines()[1 : COUNT + 1]]
    expected = [["pair", row, str(seed)] for seed in SEEDS for row in ROWS]
    assert [cell[:3] for cell in cells] == expected
    assert [cell[-1] for cell in cells] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert (
        f"\n{COUNT} cells to train in 3 cohorts, 0 done\nteacher {TEACHER}: will be trained\ncost: "
        in found.out
    )
    work = sum(run["cost/compute_tmac"] for run in in_mlflow(tracked.workspace))
    assert re.search(
        rf"; {work:.3g} without sharing the teacher's forward passes; about (\d+ min )?\d+ s on ",
        found.out,
    )
    assert (found.code, found.err) == (0, "")
    smaller = kdbench("run", tracked.study, "--dry-run", "--cohort-size", "2")
    assert f"\n{COUNT} cells to train in 6 cohorts, 0 done\n" in smaller.out
    assert not list(here.iterdir())


def test_a_dry_run_says_if_no_row_trains_the_student_alone(tracked: Tracked, here: Path) -> None:
    study = write_study(here / "kd.yaml", tiny(["kd"]))
    note = "\nno row student: the leaderboard will have no gains over it\n"
    assert note in kdbench("run", study, "--dry-run").out
    assert note not in kdbench("run", tracked.study, "--dry-run").out


def test_a_dry_run_of_a_finished_study_names_its_cells_and_leaves_nothing_to_do(
    tracked: Tracked,
) -> None:
    found = kdbench("--workspace", tracked.workspace, "run", tracked.study, "--dry-run")
    cells = [line.split() for line in found.out.splitlines()[1 : COUNT + 1]]
    assert [cell[3:] for cell in cells] == [
        [cell["id"], "done"] for cell in plan(tracked.workspace)["cells"]
    ]
    assert (
        f"\n0 cells to train in 0 cohorts, {COUNT} done\nteacher {TEACHER}: in the store, "
        in found.out
    )


def test_a_tracked_run_prints_its_leaderboard_and_a_second_one_trains_nothing_and_prints_the_same(
    tracked: Tracked,
) -> None:
    assert tracked.ended.code == 0
    assert f"{COUNT} cells trained, 0 already done, 0 failed\n" in tracked.ended.err
    assert "warning" not in tracked.ended.err
    for row in ("teacher", *ROWS):
        assert re.search(rf"^{row} +[13] +\d", tracked.ended.out, re.MULTILINE)
    again = kdbench("--workspace", tracked.workspace, "run", tracked.study, "--device", "cpu")
    assert (again.code, again.out) == (0, tracked.ended.out)
    assert again.err.startswith(f"0 cells trained, {COUNT} already done, 0 failed\n")
    assert len(in_mlflow(tracked.workspace)) == COUNT + 1


def test_a_study_trained_without_mlflow_gives_the_same_files_once_it_is_synced(
    untracked: tuple[Path, Ended], tracked: Tracked, tmp_path: Path
) -> None:
    workspace, _ = untracked
    where = f"in sqlite:///{workspace}/mlflow.db\n"
    first, second = (
        kdbench("--workspace", workspace, "sync", name) for name in (tracked.study, "tiny")
    )
    assert first == Ended(0, f"{COUNT + 1} runs added, 0 updated, 0 unchanged {where}", "")
    assert second == Ended(0, f"0 runs added, 0 updated, {COUNT + 1} unchanged {where}", "")
    assert leaderboard(workspace, "tiny", tmp_path) == tracked.files


def test_a_failed_cell_gives_code_1_and_stays_in_table_and_status_with_its_reason(
    workspace: Path, tmp_path: Path, no_figures: None
) -> None:
    rows = ["student", {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}]
    file = write_study(workspace / "study.yaml", tiny(rows))
    found = kdbench("--workspace", workspace, "run", file, "--no-track", "--device", "cpu")
    reason = r"non-finite loss at epoch 1, step \d \(term ce\)"
    assert found.code == 1
    assert "1 cell trained, 0 already done, 1 failed\n" in found.err
    assert re.search(rf"^failed: pair / wild / seed 0: {reason}$", found.err, re.MULTILINE)
    assert kdbench("--workspace", workspace, "sync", "tiny").code == 0
    table = kdbench("--workspace", workspace, "leaderboard", "tiny", "--results", tmp_path).out
    assert re.search(r"^wild +0/1 +- ", table, re.MULTILINE)
    assert re.search(rf"^\* wild: .*{reason}", table, re.MULTILINE)
    lines = kdbench("--workspace", workspace, "status", "tiny").out.splitlines()
    assert lines[0] == "tiny: 1 of 2 cells done, not running"
    assert re.fullmatch(rf"pair +wild +0 +[0-9a-f]{{12}} +failed: {reason} +0/2 .*", lines[-1])
