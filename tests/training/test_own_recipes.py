"""Rows with a recipe of their own train beside the others, or in cohorts of their own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark import data
from benchmark.measures import BY_COLUMN
from benchmark.training import teacher
from tests.support.disks import killed_after
from tests.support.studies import bits, folders, metrics, run, tiny

pytestmark = pytest.mark.trains

ROWS: list[Any] = [
    "kd",
    {
        "name": "long",
        "method": "kd",
        "recipe": {"epochs": 4, "optimizer": {"lr": 0.1}, "ema": 0.5, "clip_norm": 1.0},
    },
    {"name": "big", "method": "kd", "recipe": {"batch_size": 24, "accumulate": 2}},
    {"name": "smooth", "method": "ab", "recipe": {"label_smoothing": 0.1, "schedule": "onecycle"}},
]
NAMES = ("kd", "long", "big", "smooth")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows, side by side where their batches are the same."""
    workspace = tmp_path_factory.mktemp("together")
    assert not run(workspace, tiny(ROWS)).failed
    return workspace


def test_a_row_trains_by_its_own_recipe(together: Path) -> None:
    epochs = {name: metrics(folders(together)[f"{name}/0"]) for name in NAMES}
    assert {name: len(values) for name, values in epochs.items()} == {
        "kd": 2,
        "long": 4,
        "big": 2,
        "smooth": 2,
    }
    assert epochs["long"][0]["lr"] > epochs["kd"][0]["lr"] > epochs["smooth"][-1]["lr"]

    compute = BY_COLUMN["compute_tmac"].key
    costs = {name: metrics(folders(together)[f"{name}/0"], "final")[0][compute] for name in NAMES}
    assert costs["long"] == pytest.approx(2 * costs["kd"])
    assert costs["big"] == pytest.approx(costs["kd"])  # 2 batches of 24 instead of 3 of 16


def test_rows_with_recipes_of_their_own_leave_the_others_as_they_are(
    together: Path, workspace: Path
) -> None:
    run(workspace, tiny(["kd"]))
    alone, beside = folders(workspace)["kd/0"], folders(together)["kd/0"]
    assert alone.name == beside.name
    assert bits(alone) == bits(beside)


def test_a_row_alone_or_resumed_equals_itself_in_a_cohort_bit_for_bit(
    together: Path, tmp_path: Path
) -> None:
    run(tmp_path / "apart", tiny(ROWS), cohort_size=1)
    for after in (3, 4):
        with killed_after(after):
            run(tmp_path / "stopped", tiny(ROWS))
    run(tmp_path / "stopped", tiny(ROWS))

    for name in NAMES:
        expected = bits(folders(together)[f"{name}/0"])
        assert bits(folders(tmp_path / "apart")[f"{name}/0"]) == expected
        assert bits(folders(tmp_path / "stopped")[f"{name}/0"]) == expected


def test_the_teacher_runs_for_the_longest_row_of_each_cohort(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: Counter[int] = Counter()
    output = teacher.Teacher.output

    def counted(self: teacher.Teacher, loaded: data.Loaded, precision: str) -> Any:
        sizes[len(loaded.labels)] += 1
        return output(self, loaded, precision)

    monkeypatch.setattr(teacher.Teacher, "output", counted)
    run(workspace, tiny(ROWS[:3]))
    assert sizes == {16: 4 * 3, 24: 2 * 2}
