"""Networks that see a batch in their own way, and batches that are mixed or augmented.

Still no other member and no crash changes a bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.models import tapped
from tests.support.disks import killed_after
from tests.support.networks import STUDENT, TEACHER
from tests.support.studies import bits, folders, records, run, tiny

pytestmark = pytest.mark.trains

ROWS = ["student", "kd", "fitnet"]
TEACHERS_VIEW = {"image_size": 40, "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
STUDENTS_VIEW = {"image_size": 24, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.3, 0.5]}

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixed": {"mixup": 0.2, "cutmix": 1.0},
    "augmented": {
        "augmentation": {
            "crop_padding": 2,
            "flip": True,
            "randaugment": {"operations": 2},
            "cutout": 8,
        }
    },
}


def content(rows: list[str], case: str) -> dict[str, Any]:
    """Return the tiny study with a view for each network; the teacher has the same recipe."""
    study = tiny(rows, recipe=RECIPES[case])
    teacher = {"model": TEACHER, **TEACHERS_VIEW, "recipe": {**study["recipe"], "epochs": 1}}
    student = {"model": STUDENT, **STUDENTS_VIEW}
    return {**study, "pairs": [{"name": "pair", "teacher": teacher, "student": student}]}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The workspaces of all cases, in which all rows were trained in one cohort."""
    workspaces = {case: tmp_path_factory.mktemp(case) for case in RECIPES}
    for case, workspace in workspaces.items():
        assert not run(workspace, content(ROWS, case)).failed
    return workspaces


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("case", RECIPES)
def test_a_cell_trained_alone_equals_the_same_cell_in_a_cohort_bit_for_bit(
    case: str, name: str, together: dict[str, Path], workspace: Path
) -> None:
    run(workspace, content([name], case))
    alone = folders(workspace)[f"{name}/0"]
    beside = folders(together[case])[f"{name}/0"]
    assert alone.name == beside.name
    assert bits(alone) == bits(beside)


@pytest.mark.parametrize("case", RECIPES)
def test_cells_that_were_interrupted_equal_uninterrupted_ones_bit_for_bit(
    case: str, together: dict[str, Path], workspace: Path
) -> None:
    with killed_after(2):
        run(workspace, content(ROWS, case))
    run(workspace, content(ROWS, case))
    starts = {}
    for name, folder in folders(workspace).items():
        starts[name] = [record["epoch"] for record in records(folder, "start")]
        assert bits(folder) == bits(folders(together[case])[name])
    assert starts == {"student/0": [0, 1], "kd/0": [0, 1], "fitnet/0": [0, 0]}


def test_what_a_network_sees_and_learns_by_changes_its_bits(
    together: dict[str, Path], workspace: Path
) -> None:
    run(workspace, tiny(ROWS))
    studies = [folders(each) for each in (workspace, *together.values())]
    for row in ROWS:
        digests = {bits(cells[f"{row}/0"])["sha256"] for cells in studies}
        assert len(digests) == 1 + len(RECIPES)


def test_each_network_of_a_cohort_sees_the_shared_batch_in_its_own_way(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: dict[int, set[tuple[torch.Size, torch.Size]]] = {}
    prepared = tapped.TappedModel.prepared

    def spy(self: tapped.TappedModel, images: torch.Tensor) -> torch.Tensor:
        seen = prepared(self, images)
        if len(images) > 1:
            pair = (images.shape[2:], seen.shape[2:])
            shapes.setdefault(self.image_size or 0, set()).add(pair)
        return seen

    monkeypatch.setattr(tapped.TappedModel, "prepared", spy)
    run(workspace, content(["kd"], "plain"))
    assert shapes == {size: {((32, 32), (size, size))} for size in (40, 24)}
