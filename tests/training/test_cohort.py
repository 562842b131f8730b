"""A member's numbers depend on itself alone: not on other members, crashes, or the order.

The slow tests repeat for all methods what the others show for one of each kind.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark import data
from benchmark.study.schema import Recipe
from benchmark.training import cost, member, teacher
from tests.support.disks import killed_after
from tests.support.studies import bits, folders, plan, records, run, tiny
from tests.training.rows import ALL, KINDS, cells, row, studies

pytestmark = pytest.mark.trains


def early_epochs(name: str) -> int:
    """Return the length of a method's early stage in the tiny study."""
    method = methods.create(name, **row(name)["settings"])
    return cost.length(method, Recipe(epochs=2)).early


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods, in one cohort for each pair."""
    workspace = tmp_path_factory.mktemp("together")
    for study in studies():
        assert not run(workspace, study).failed
    return workspace


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of one method of each kind, each in a cohort of its own."""
    workspace = tmp_path_factory.mktemp("apart")
    run(workspace, tiny([row(name) for name in KINDS]), cohort_size=1)
    return workspace


@pytest.fixture(scope="module")
def all_apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells of all methods, each in a cohort of its own."""
    workspace = tmp_path_factory.mktemp("all_apart")
    for study in studies():
        run(workspace, study, cohort_size=1)
    return workspace


def run_with_stops(workspace: Path, study: dict[str, Any]) -> None:
    """Run a study, interrupted twice with members on either side of an epoch's end."""
    names = [entry["method"] for entry in study["methods"]]
    early = sum(early_epochs(name) for name in names)
    for after in (early + len(names) // 2, len(names)):
        with killed_after(after):
            run(workspace, study)
    run(workspace, study)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of one method of each kind, interrupted twice."""
    workspace = tmp_path_factory.mktemp("stopped")
    run_with_stops(workspace, tiny([row(name) for name in KINDS]))
    return workspace


@pytest.fixture(scope="module")
def all_stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells of all methods, interrupted twice."""
    workspace = tmp_path_factory.mktemp("all_stopped")
    for study in studies():
        run_with_stops(workspace, study)
    return workspace


def assert_resumed_alike(folder: Path, uninterrupted: Path) -> None:
    """Check that a cell was interrupted, and equals an uninterrupted one."""
    starts = {record["epoch"] for record in records(folder, "start")}
    assert len(starts) > 1
    assert bits(folder) == bits(uninterrupted)


def train_in_bf16(workspace: Path, study: dict[str, Any]) -> None:
    """Train a study with networks in bf16, for one epoch."""
    recipe = {**study["recipe"], "epochs": 1, "precision": "bf16"}
    assert not run(workspace, {**study, "recipe": recipe}).failed


def assert_finite(folder: Path, length: int = 1) -> None:
    """Check the number of a cell's epochs, and that all of their metrics are finite."""
    epochs = bits(folder)["epochs"]
    assert len(epochs) == length
    assert all(math.isfinite(value) for epoch in epochs for value in epoch.values())


@pytest.mark.parametrize("name", KINDS)
def test_a_cell_trained_alone_equals_the_same_cell_in_a_cohort_bit_for_bit(
    name: str, together: Path, apart: Path
) -> None:
    alone = folders(apart)[f"{name}/0"]
    beside = cells(together)[f"{name}/0"]
    assert alone.name == beside.name
    assert bits(alone) == bits(beside)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_cell_of_any_method_equals_the_same_cell_in_a_cohort_bit_for_bit(
    name: str, together: Path, all_apart: Path
) -> None:
    assert bits(cells(all_apart)[f"{name}/0"]) == bits(cells(together)[f"{name}/0"])


@pytest.mark.parametrize("name", KINDS)
def test_a_cell_that_was_interrupted_equals_an_uninterrupted_one_bit_for_bit(
    name: str, together: Path, stopped: Path
) -> None:
    assert_resumed_alike(folders(stopped)[f"{name}/0"], cells(together)[f"{name}/0"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_an_interrupted_cell_of_any_method_equals_an_uninterrupted_one_bit_for_bit(
    name: str, together: Path, all_stopped: Path
) -> None:
    assert_resumed_alike(cells(all_stopped)[f"{name}/0"], cells(together)[f"{name}/0"])


def test_every_method_runs_in_the_engine(together: Path) -> None:
    assert plan(together)["not_applicable"] == {}
    assert plan(together, "maps")["not_applicable"] == {}
    assert set(cells(together)) == {f"{name}/0" for name in ALL}


def test_one_method_of_each_kind_trains_with_networks_in_bf16(workspace: Path) -> None:
    train_in_bf16(workspace, tiny([row(name) for name in KINDS]))
    for name in KINDS:
        assert_finite(folders(workspace)[f"{name}/0"], length=2 if name == "longer" else 1)


@pytest.mark.slow
def test_every_method_trains_with_networks_in_bf16(workspace: Path) -> None:
    for study in studies():
        train_in_bf16(workspace, study)
    for name in ALL:
        assert_finite(cells(workspace)[f"{name}/0"], length=2 if name == "longer" else 1)


@pytest.mark.parametrize(
    ("rows", "passes"),
    [
        (["kd"], 6),
        (["student", "kd", "fitnet", "at", "kd+at"], 6),
        (["student"], 0),
        (["kd", "longer"], 6),
        (["kd", "ab"], 9),
        (["longer", "born_again", "dml", "random_teacher"], 0),
    ],
)
def test_the_teacher_runs_once_per_batch_whatever_the_number_of_members(
    rows: list[str], passes: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    output = teacher.Teacher.output

    def counted(self: teacher.Teacher, loaded: data.Loaded, precision: str) -> Any:
        calls["output"] += 1
        return output(self, loaded, precision)

    monkeypatch.setattr(teacher.Teacher, "output", counted)
    run(workspace, tiny(rows))
    assert calls["output"] == passes  # 2 epochs of 3 batches


def test_a_teachers_network_is_in_eval_mode_without_gradients_and_stays_as_it_was(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[teacher.Teacher] = []
    before: list[dict[str, torch.Tensor]] = []
    init = teacher.Teacher.__init__

    def kept(self: teacher.Teacher, *args: Any) -> None:
        init(self, *args)
        teachers.append(self)
        before.append({name: value.clone() for name, value in self.model.state_dict().items()})

    monkeypatch.setattr(teacher.Teacher, "__init__", kept)
    run(workspace, tiny(["kd", "fitnet", "at"]))
    (only,) = teachers
    assert not only.model.training
    assert not any(parameter.requires_grad for parameter in only.model.parameters())
    for name, value in only.model.state_dict().items():
        assert torch.equal(value, before[0][name])


def test_students_of_one_seed_start_from_the_same_weights_and_see_the_same_batches(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, torch.Tensor] = {}
    step = member.Member.step

    def spy(self: member.Member, loaded: data.Loaded, *rest: Any) -> None:
        if self.state.epoch == 0 and rest[-1] == 0 and self.conditions.teacher is not None:
            weights = [parameter.detach().flatten() for parameter in self.student.parameters()]
            first[self.task.label] = torch.cat([*weights, loaded.inputs.flatten()])
        step(self, loaded, *rest)

    monkeypatch.setattr(member.Member, "step", spy)
    run(workspace, tiny(["student", "fitnet"], seeds=[0, 1]))
    assert torch.equal(first["pair / student / seed 0"], first["pair / fitnet / seed 0"])
    assert torch.equal(first["pair / student / seed 1"], first["pair / fitnet / seed 1"])
    assert not torch.equal(first["pair / student / seed 0"], first["pair / student / seed 1"])
