"""What a user sees of own recipes, time limits and a part of the test images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commandline import in_mlflow, kdbench
from tests.support.studies import folders, metrics, plan, tiny, write_study

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("no_figures")]

LIMIT = {"max_hours": 1e-9}


def study_of(workspace: Path, **changes: Any) -> Path:
    rows = [
        "student",
        "kd",
        {"name": "kd-long", "method": "kd", "recipe": {"epochs": 5, **LIMIT}},
        {"name": "kd-big", "method": "kd", "recipe": {"batch_size": 24}},
    ]
    split = {"val": 40, "train_samples": 48, "test_samples": 100}
    return write_study(workspace / "s.yaml", tiny(rows, split=split, **changes))


def test_a_study_with_own_recipes_runs_and_its_leaderboard_says_what_differs(
    workspace: Path,
) -> None:
    study = study_of(workspace, seeds=[0, 1, 2])
    local = ("--device", "cpu")
    dry = kdbench("--workspace", workspace, "run", study, *local, "--dry-run")
    assert dry.code == 0, dry.err
    assert "12 cells to train in 6 cohorts, 0 done" in dry.out

    done = kdbench("--workspace", workspace, "run", study, *local, "--no-track")
    assert done.code == 0, done.err
    content = plan(workspace)
    assert content["test_images"] == [100, 449]
    assert set(content["overrides"]) == {"kd-long", "kd-big"}
    assert len(metrics(folders(workspace)["kd-long/0"])) == 1

    status = kdbench("--workspace", workspace, "status", study)
    assert "1/5" in status.out

    assert kdbench("--workspace", workspace, "sync", study).code == 0
    stopped = {run["method"]: run.get("stopped", "") for run in in_mlflow(workspace)}
    assert stopped == {"teacher": "", "student": "", "kd": "", "kd-big": "", "kd-long": "1/5"}

    results = workspace / "results"
    table = kdbench("--workspace", workspace, "leaderboard", study, "--results", results)
    assert table.code == 0, table.err
    text = " ".join(table.out.split())
    assert "networks were tested on 100 of 449 test images" in text
    assert "kd-big: batch_size 24 instead of 16" in text

    written = (results / "tiny" / "leaderboard.csv").read_text()
    assert "stopped by max_hours after 1 of 5 epochs" in written
    summary = json.loads((results / "tiny" / "summary.json").read_text())
    assert summary["plan"]["test_images"] == [100, 449]


def test_a_stored_teacher_is_measured_again_on_a_part_of_the_test_images(workspace: Path) -> None:
    full = write_study(workspace / "full.yaml", tiny(["student"], recipe={"epochs": 1}))
    local = ("--device", "cpu", "--no-track")
    assert kdbench("--workspace", workspace, "run", full, *local).code == 0
    (card,) = (json.loads(path.read_text()) for path in workspace.glob("teachers/*/card.json"))
    assert "test_part" not in card

    pair = tiny()["pairs"][0]
    teacher = {"model": pair["teacher"]["model"], "weights": card["sha256"][:12]}
    content = tiny(
        ["student"],
        name="part",
        recipe={"epochs": 1},
        split={"val": 40, "train_samples": 48, "test_samples": 10},
        pairs=[{**pair, "teacher": teacher}],
    )
    part = write_study(workspace / "part.yaml", content)
    done = kdbench("--workspace", workspace, "run", part, *local)
    assert done.code == 0, done.err

    (record,) = (workspace / "part" / "teachers").iterdir()
    measured = json.loads((record / "done.json").read_text())["metrics"]["test/acc1"]
    assert measured == pytest.approx(10 * round(measured / 10), abs=1e-9)
    verified = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert (verified.code, verified.out.count("as stored")) == (0, 1)


def test_a_teacher_that_was_measured_on_a_part_is_verified_on_the_same_part(
    workspace: Path,
) -> None:
    study = study_of(workspace, recipe={"epochs": 1})
    done = kdbench("--workspace", workspace, "teachers", "train", study, "--device", "cpu")
    assert done.code == 0, done.err
    (card,) = (json.loads(path.read_text()) for path in workspace.glob("teachers/*/card.json"))
    assert card["test_part"] == {"test_samples": 100, "seed": 0}

    verified = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert (verified.code, verified.out.count("as stored")) == (0, 1), verified.out
