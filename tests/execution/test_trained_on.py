"""Test images that were trained on are told at the run, in the plan, and under the table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.commandline import kdbench
from tests.support.datasources import class_folders
from tests.support.studies import plan, tiny, write_study

pytestmark = pytest.mark.trains


def study_of(folder: Path, **changes: Any) -> dict[str, Any]:
    return tiny(
        ["student"],
        dataset=f"folder/{folder}",
        split={"val": 3, **changes},
        seeds=[0],
        recipe={"epochs": 1, "batch_size": 4},
    )


def test_test_images_that_were_trained_on_are_told_wherever_results_are_read(
    tmp_path: Path, workspace: Path
) -> None:
    folder = class_folders(tmp_path / "mine", width=16, height=16)
    for name in ("a", "b"):
        shutil.copytree(folder / "train" / name, folder / "test" / name, dirs_exist_ok=True)
    study = write_study(workspace / "s.yaml", study_of(folder, val=0))

    for _ in range(2):  # also if the data set was read before
        done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
        assert done.code == 0, done.err
        assert "16 of 20 test images are also among the training images\n" in done.err

    assert plan(workspace)["trained_on"] == [16, 20]
    assert kdbench("--workspace", workspace, "sync", study).code == 0
    results = ("--results", workspace / "results")
    table = kdbench("--workspace", workspace, "leaderboard", study, *results)
    told = "16 of 20 test images are also among the training images: networks were tested on"
    assert told in " ".join(table.out.split())


def test_of_test_images_that_are_not_used_nothing_is_told(tmp_path: Path, workspace: Path) -> None:
    folder = class_folders(tmp_path / "mine", width=16, height=16)
    study = write_study(workspace / "s.yaml", study_of(folder))
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    assert "among the training images" not in done.err
    assert plan(workspace)["trained_on"] is None
