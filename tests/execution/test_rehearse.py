"""A rehearsal measures every kind of cell, names what fails, and leaves the workspace alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.data import augmentation
from benchmark.execution import prepare
from benchmark.execution import rehearse as module
from benchmark.execution.executors import Executor
from benchmark.execution.executors.processes import ProcessesExecutor
from benchmark.execution.rehearse import Rehearsal, rehearse
from benchmark.execution.stand_in import teacher_on_trial
from benchmark.execution.teacher_store import TeacherStore
from benchmark.records.layout import Workspace
from benchmark.study import study
from benchmark.study.schema import Network
from benchmark.training import member, teacher
from benchmark.training import rehearsal as steps
from methods import Needs
from tests.execution.helpers import pairs, prepared, session
from tests.support.networks import TEACHER
from tests.support.plugged import clean
from tests.support.sick import EXIT_3, SICK_NETWORK, UNUSUAL, sick_row, sick_study
from tests.support.studies import run, tiny, write_study
from tests.training.rows import KINDS, row

__all__ = ["clean"]

pytestmark = pytest.mark.trains

TRAINING = f"pairs[0].teacher ({TEACHER})"

EARLY = ("ab", "born_again")
"""Rows of `KINDS` with an early stage."""


def rehearsed(
    content: dict[str, Any], workspace: Path, executor: Executor | None = None, **options: Any
) -> Rehearsal:
    return rehearse(prepared(content, workspace), session(workspace, executor), **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rehearsal]:
    """A rehearsal of one method of each kind, whose teacher is missing, and its workspace."""
    workspace = tmp_path_factory.mktemp("kinds")
    content = tiny([row(name) for name in KINDS], seeds=[0, 1])
    return workspace, rehearsed(content, workspace)


def test_every_kind_of_row_and_the_missing_teacher_is_measured(
    kinds: tuple[Path, Rehearsal],
) -> None:
    _, found = kinds
    assert found.failed == {}
    assert set(found.figures) == {TRAINING, *(f"pair / {name}" for name in KINDS)}

    for name, figures in found.figures.items():
        assert (figures.early_step > 0) == (name.removeprefix("pair / ") in EARLY), name
        assert (figures.teacher > 0) == (name != TRAINING)
        costs = (figures.step, figures.batch, figures.evaluated, figures.built, figures.final)
        assert min(*costs, figures.checkpoint) > 0
        assert figures.memory > 1
        assert figures.steps >= steps.LEAST


def test_a_rehearsal_with_a_missing_teacher_leaves_an_empty_workspace_empty(
    kinds: tuple[Path, Rehearsal],
) -> None:
    workspace, found = kinds
    assert list(workspace.iterdir()) == []
    assert len(found.missing) == 1


def test_a_rehearsal_leaves_a_workspace_as_it_was_and_uses_the_teacher_in_it(
    tmp_path: Path,
) -> None:
    content = tiny()
    run(tmp_path, content)
    before = contents(tmp_path)

    found = rehearsed(tiny(["student", "kd", "at"]), tmp_path)
    assert contents(tmp_path) == before
    assert set(found.figures) == {"pair / student", "pair / kd", "pair / at"}
    assert not found.missing


def test_a_teacher_of_stored_weights_is_used(tmp_path: Path) -> None:
    run(tmp_path, tiny())
    card = next((tmp_path / "teachers").glob("*/card.json"))
    digest = TeacherStore(Workspace(tmp_path)).card(card.parent.name)
    assert digest is not None

    content = tiny(["kd"])
    content["pairs"][0]["teacher"] = {"model": TEACHER, "weights": digest.sha256[:12]}
    found = rehearsed(content, tmp_path)
    assert set(found.figures) == {"pair / kd"}
    assert not found.missing


def test_rows_of_several_pairs_and_batch_sizes_are_measured_in_cohorts_of_any_size(
    workspace: Path,
) -> None:
    rows = ["kd", {"name": "big", "method": "kd", "recipe": {"batch_size": 24}}, "student"]
    content = tiny(rows, pairs=pairs(one={}, two={"seed": 1}))
    lines: list[str] = []
    found = rehearsed(content, workspace, cohort_size=1, say=lines.append)

    names = {f"{pair} / {name}" for pair in ("one", "two") for name in ("kd", "big", "student")}
    assert set(found.figures) == names | {TRAINING, TRAINING.replace("0", "1")}
    assert lines[0] == f"rehearsing the training of {TRAINING} (1 of 8)"
    assert lines[-1] == "rehearsing 1 row (8 of 8)"


def test_short_time_leaves_no_row_out(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    found = rehearsed(tiny(["student", "kd", "ab"]), workspace)
    assert {figures.steps for figures in found.figures.values()} == {0}
    assert len(found.figures) == 4


@pytest.mark.usefixtures("clean")
def test_a_row_that_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SICK_COUNT", str(tmp_path / "count"))
    rows = ["student", sick_row(UNUSUAL, building=1), "kd"]
    content = sick_study(tmp_path / "study", rows)
    found = rehearsed_file(content, tmp_path)
    assert found.failed == {"pair / sick": "Unusual: not an Exception"}
    assert set(found.figures) == {TRAINING, "pair / student", "pair / kd"}


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.usefixtures("clean")
def test_a_row_that_ends_its_process_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: ProcessesExecutor
) -> None:
    monkeypatch.setenv("SICK_COUNT", str(tmp_path / "count"))
    rows = ["student", sick_row(EXIT_3, building=1), "kd"]
    content = sick_study(tmp_path / "study", rows)
    found = rehearsed_file(content, tmp_path, process)
    assert list(found.failed) == ["pair / sick"]
    assert "code 3" in found.failed["pair / sick"]
    assert set(found.figures) == {TRAINING, "pair / student", "pair / kd"}


@pytest.mark.subprocess
@pytest.mark.usefixtures("clean")
@pytest.mark.slow
def test_a_network_that_ends_its_process_in_a_step_is_named(
    tmp_path: Path, process: ProcessesExecutor
) -> None:
    content = sick_study(tmp_path / "study", ["kd"])
    content["plugins"].append("./sick_networks.py")
    content["pairs"].append({**content["pairs"][0], "name": "sick", "student": SICK_NETWORK})
    found = rehearsed_file(content, tmp_path, process)
    assert list(found.failed) == ["sick / kd"]
    assert set(found.figures) == {TRAINING, "pair / kd"}


def test_a_loss_that_is_not_finite_is_a_failure(workspace: Path) -> None:
    rows: list[Any] = ["student", {"name": "huge", "method": "kd", "settings": {"weight": 1e38}}]
    content = tiny(rows, recipe={"optimizer": {"name": "sgd", "lr": 1e30}})
    run(workspace, tiny(["student"]))
    found = rehearsed(content, workspace)
    assert "non-finite loss" in found.failed["pair / huge"]


def test_a_deep_untrained_network_gives_finite_outputs_in_place_of_a_teacher(
    workspace: Path,
) -> None:
    data = prepared(tiny()).data
    network = Network(model="cifar_resnet56", pretrained=True)
    teacher = teacher_on_trial("missing", network, TeacherStore(Workspace(workspace)), data)
    assert not teacher.is_trained
    with torch.no_grad():
        output = teacher.model(teacher.model.example(8), Needs())
    assert float(output.logits.abs().max()) < 100


@pytest.fixture
def process() -> Iterator[ProcessesExecutor]:
    """An executor whose worker process ends with the test."""
    executor = ProcessesExecutor(1)
    yield executor
    executor.close()


def rehearsed_file(
    content: dict[str, Any], folder: Path, executor: Executor | None = None
) -> Rehearsal:
    """Rehearse a study with plug-ins, whose paths are relative to its file."""
    path = write_study(folder / "study" / "study.yaml", content)
    files, device = Workspace(folder / "runs"), torch.device("cpu")
    loaded = study.load(path, methods)
    ready = prepare.prepare(loaded, path.read_text(), str(path), device, files, print)
    return rehearse(ready, session(folder / "runs", executor))


def test_a_teacher_for_which_memory_runs_out_fails_the_rows_that_need_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def output(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(teacher.Teacher, "output", output)
    found = rehearsed(tiny(["kd", "student"]), workspace)
    assert set(found.failed) == {"pair / kd", "pair / student"}
    assert found.failed["pair / kd"] == "OutOfMemoryError: CUDA out of memory"
    assert set(found.figures) == {TRAINING}


def test_a_rehearsal_uses_the_products_of_the_recipe(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    step = member.Member.step

    def spy(*arguments: Any) -> Any:
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        return step(*arguments)

    monkeypatch.setattr(member.Member, "step", spy)
    rehearsed(tiny(["kd"], recipe={"precision": "tf32"}), workspace)
    assert seen[-1] == "tf32"


def test_a_batch_is_priced_with_the_augmentation_of_the_whole_block_it_belongs_to(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augment = augmentation.Draws.augment

    def slow(*arguments: Any) -> Any:
        time.sleep(0.05)
        return augment(*arguments)

    monkeypatch.setattr(augmentation.Draws, "augment", slow)
    found = rehearsed(tiny(["student"]), workspace)
    assert found.figures["pair / student"].batch > 0.016  # a block has three batches
