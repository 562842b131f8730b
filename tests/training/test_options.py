"""Options of the recipe: a cell's numbers depend on itself alone, whichever options are set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import data
from benchmark.records.checkpoints import CellFolder, Checkpoint
from benchmark.training import evaluate, member
from benchmark.training.stopwatch import TeacherTime
from tests.support.disks import killed_after
from tests.support.studies import Interrupt, bits, folders, metrics, plan, records, run, tiny
from tests.training.rows import row

pytestmark = pytest.mark.trains

ROWS = ("student", "fitnet", "simkd", "ab", "dml", "born_again")
"""Rows with a head of their own, an early stage, a peer, and a network that is trained first."""

OPTIONS: dict[str, dict[str, Any]] = {
    "ema": {"ema": 0.5},
    "clip": {"clip_norm": 0.5, "clip_value": 0.01},
    "smoothing": {"label_smoothing": 0.2, "mixup": 0.4},
    "fp16": {"precision": "fp16", "clip_norm": 0.5, "ema": 0.5},
    "accumulate": {"accumulate": 2, "ema": 0.5},
    "dot": {"optimizer": {"name": "dot", "lr": 0.02}, "accumulate": 2, "clip_norm": 0.5},
    "polynomial": {"schedule": {"name": "polynomial", "power": 0.9, "warmup_epochs": 1}},
    "onecycle": {"schedule": "onecycle"},
    "teacher cache": {"teacher_cache": 1},
}


def content(option: str, **changes: Any) -> dict[str, Any]:
    """Return a study with an option, whose networks are tested at their best epoch."""
    rows = [row(name) for name in ROWS]
    return tiny(rows, recipe=OPTIONS[option], select="best_val", **changes)


QUICK = ("fp16", "accumulate", "dot")
"""Options that are always tested: those with the most state."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in OPTIONS
    ],
)
def option(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def together(option: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows in one cohort."""
    workspace = tmp_path_factory.mktemp("together")
    assert not run(workspace, content(option)).failed
    return workspace


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows, without any option."""
    workspace = tmp_path_factory.mktemp("plain")
    assert not run(workspace, tiny([row(name) for name in ROWS], select="best_val")).failed
    return workspace


def test_a_cell_with_the_option_equals_itself_alone_and_resumed_bit_for_bit(
    option: str, together: Path, tmp_path: Path
) -> None:
    run(tmp_path / "apart", content(option), cohort_size=1)

    early = 1 + 2  # ab and born_again
    for after in (early + len(ROWS) // 2, len(ROWS)):
        with killed_after(after):
            run(tmp_path / "stopped", content(option))
    run(tmp_path / "stopped", content(option))

    for name in ROWS:
        expected = bits(folders(together)[f"{name}/0"])
        stopped = folders(tmp_path / "stopped")[f"{name}/0"]
        assert len(records(stopped, "start")) > 1
        assert bits(folders(tmp_path / "apart")[f"{name}/0"]) == expected
        assert bits(stopped) == expected


def test_the_option_changes_the_weights_and_the_identity_of_every_row(
    together: Path, plain: Path
) -> None:
    for name in ROWS:
        ours, theirs = folders(together)[f"{name}/0"], folders(plain)[f"{name}/0"]
        assert ours.name != theirs.name
        assert bits(ours)["sha256"] != bits(theirs)["sha256"]


def test_the_plan_shows_an_option_that_is_set(workspace: Path) -> None:
    run(workspace, tiny(["student"], recipe={"epochs": 1, "ema": 0.9, "clip_norm": 1.0}))
    (cell,) = plan(workspace)["cells"]
    assert (cell["recipe"]["ema"], cell["recipe"]["clip_norm"]) == (0.9, 1.0)
    assert "accumulate" not in cell["recipe"]


def test_a_head_that_the_method_deploys_is_averaged_with_the_student(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, torch.Tensor] = {}
    step = member.Member.step

    def spy(self: member.Member, *args: Any) -> Any:
        logged = step(self, *args)
        own.update({name: value.clone() for name, value in self.parts.weights().items()})
        return logged

    monkeypatch.setattr(member.Member, "step", spy)
    run(workspace, tiny([row("simkd")], recipe={"ema": 0.5}))

    folder = folders(workspace)["simkd/0"]
    (trained,) = records(folder, "trained")
    saved = CellFolder(folder).read_weights(trained["sha256"])
    assert saved.keys() == own.keys()

    buffers = [name for name in saved if "running_" in name or "num_batches" in name]
    learned = [name for name in saved if name not in buffers and "classifier" not in name]
    assert buffers
    assert any(name.startswith("deployed.") for name in learned)
    assert all(torch.equal(saved[name], own[name]) for name in buffers)
    changed = [name for name in learned if not torch.equal(saved[name], own[name])]
    assert any(name.startswith("deployed.") for name in changed)
    assert any(not name.startswith("deployed.") for name in changed)


def test_validation_selection_and_test_use_the_averaged_weights(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[torch.Tensor] = []
    own: list[torch.Tensor] = []
    validate = evaluate.validate

    def spy(model: Any, inputs: data.Inputs, epoch: int) -> dict[str, float]:
        validated.append(model.network.conv1.weight.detach().clone())
        return validate(model, inputs, epoch)

    end = member.Member.end_epoch

    def ended(self: member.Member, teacher: TeacherTime) -> None:
        end(self, teacher)
        own.append(self.student.network.conv1.weight.detach().clone())

    monkeypatch.setattr(evaluate, "validate", spy)
    monkeypatch.setattr(member.Member, "end_epoch", ended)
    pair = {"name": "pair", "teacher": "cifar_resnet14", "student": "cifar_resnet8"}
    content = tiny(["student"], pairs=[pair], recipe={"ema": 0.9})
    run(workspace, {**content, "select": "best_val"})

    folder = folders(workspace)["student/0"]
    (trained,) = records(folder, "trained")
    saved = CellFolder(folder).read_weights(trained["sha256"])["conv1.weight"]
    epochs = metrics(folder)
    best = max(range(2), key=lambda epoch: (epochs[epoch]["val/acc1"], -epoch))
    assert trained["epoch"] == best
    assert torch.equal(saved, validated[-2:][best])
    assert not torch.equal(validated[-1], own[-1])


def test_smoothing_applies_to_the_cross_entropy_but_not_to_a_methods_own_terms(
    workspace: Path, tmp_path: Path
) -> None:
    rows = ["label_smoothing", "student"]
    run(workspace, tiny(rows, recipe={"label_smoothing": 0.3}))
    run(tmp_path / "plain", tiny(rows))
    smoothed, plain = folders(workspace), folders(tmp_path / "plain")

    name = "label_smoothing/0"
    assert bits(smoothed[name])["sha256"] == bits(plain[name])["sha256"]
    assert bits(smoothed["student/0"])["sha256"] != bits(plain["student/0"])["sha256"]

    first, plain_first = metrics(smoothed["student/0"])[0], metrics(plain["student/0"])[0]
    assert first["loss/ce"] != plain_first["loss/ce"]


def checkpoint_of(workspace: Path, study: dict[str, Any], name: str) -> Checkpoint:
    """Run a study until its first student has ended an epoch, and return the checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        run(workspace, study, Interrupt(after=1))
    checkpoint, _ = CellFolder(folders(workspace)[f"{name}/0"]).restore()
    assert checkpoint is not None
    return checkpoint


def test_the_state_of_the_loss_scaling_is_in_the_checkpoint(workspace: Path) -> None:
    study = tiny(["student"], recipe={"precision": "fp16"})
    tensors = checkpoint_of(workspace, study, "student").tensors

    names = sorted(name for name in tensors if name.startswith("optimizer/scaler/"))
    assert names == ["optimizer/scaler/growth_tracker", "optimizer/scaler/scale"]
    assert tensors["optimizer/scaler/scale"].item() == 65536
    assert tensors["optimizer/scaler/growth_tracker"].item() == 3


def test_the_average_is_in_the_checkpoint_but_not_that_of_a_peer(workspace: Path) -> None:
    tensors = checkpoint_of(workspace, tiny([row("dml")], recipe={"ema": 0.9}), "dml").tensors

    averaged = {name.removeprefix("average/") for name in tensors if name.startswith("average/")}
    student = {name.replace("/", ".", 1) for name in tensors if name.startswith("student/")}
    buffers = {name for name in student if "running_" in name or "num_batches" in name}
    assert averaged == student - buffers
    assert any(name.startswith("companion/") for name in tensors)
