"""An error ends one cell at most, is recorded, and the next run makes up for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.errors import InputError
from benchmark.records.chain import Extent
from benchmark.records.checkpoints import CellFolder, Checkpoint, Snapshot
from benchmark.training import checkpointing
from tests.support.records import read_journal
from tests.support.studies import Interrupt, Listening, bits, folders, records, run, tiny
from tests.training.rows import KINDS, row

pytestmark = pytest.mark.trains


def test_a_loss_that_is_not_finite_ends_its_cell_alone_and_is_named(
    kinds: Path, workspace: Path
) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    summary = run(workspace, tiny([wild, *(row(name) for name in KINDS)]))
    assert list(summary.failed) == ["pair / wild / seed 0"]
    assert summary.failed["pair / wild / seed 0"].startswith("non-finite loss at epoch 1, step ")

    cells = folders(workspace)
    failed = cells.pop("wild/0")
    assert not list(failed.glob("checkpoint-*"))
    journal = read_journal(failed / "journal.jsonl")
    assert [record["kind"] for record in journal] == ["start", "failed"]
    for name, folder in cells.items():
        assert bits(folder) == bits(folders(kinds)[name])


@pytest.mark.parametrize("hook", ["forward", "build"])
def test_a_method_that_raises_ends_its_cell_alone_and_is_tried_again(
    hook: str, kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("out of luck\nin two lines")

    with monkeypatch.context() as patch:
        patch.setattr(methods.get("kd"), hook, broken)
        summary = run(workspace, tiny(["student", "kd"]))
        assert summary.failed == {"pair / kd / seed 0": "ValueError: out of luck"}
        assert "in two lines" in (folders(workspace)["kd/0"] / "error.txt").read_text()

    again = run(workspace, tiny(["student", "kd"]))
    assert (again.trained, again.already_done, again.failed) == (1, 1, {})
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(kinds)[name])


def test_a_method_that_raises_in_its_early_stage_is_tried_again_from_there(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tiny([{"method": "ab", "settings": {"pre_training": 1.0}}])
    run(workspace / "whole", content)
    pre_train = methods.get("ab").pre_train

    def broken(self: methods.Method, student: Any, teacher: Any, batch: Any) -> Any:
        if batch.epoch == 1:
            raise ValueError("out of luck")
        return pre_train(self, student, teacher, batch)

    with monkeypatch.context() as patch:
        patch.setattr(methods.get("ab"), "pre_train", broken)
        assert run(workspace, content).failed == {"pair / ab / seed 0": "ValueError: out of luck"}

    assert not run(workspace, content).failed
    folder = folders(workspace)["ab/0"]
    assert [record["epoch"] for record in records(folder, "start")] == [0, 1]
    assert bits(folder) == bits(folders(workspace / "whole")["ab/0"])


def test_a_damaged_checkpoint_is_passed_over_with_a_warning_and_the_result_is_the_same(
    kinds: Path, workspace: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(workspace, tiny(["kd"]), Interrupt(after=2))
    folder = folders(workspace)["kd/0"]
    newest = sorted(folder.glob("checkpoint-*.safetensors"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    listening = Listening()
    run(workspace, tiny(["kd"]), listening)

    assert any(newest.with_suffix(".json").name in line for line in listening.warnings)
    assert bits(folder) == bits(folders(kinds)["kd/0"])


def test_a_cell_whose_checkpoint_does_not_fit_is_set_aside_and_trained_again(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = checkpointing.take

    def other(*args: Any) -> Checkpoint:
        checkpoint = take(*args)
        name = next(name for name in checkpoint.tensors if name.startswith("student/"))
        del checkpoint.tensors[name]
        return checkpoint

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "take", other)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, tiny(["kd"]), Interrupt(after=1))

    folder = folders(workspace)["kd/0"]
    listening = Listening()
    assert run(workspace, tiny(["kd"]), listening).trained == 1
    (warning,) = listening.warnings
    problem = f"{folder}: the checkpoint is incompatible with this version of kdbench ("
    assert warning.startswith(f"pair / kd / seed 0: {problem}")
    assert warning.endswith(f"; set aside in forgotten/{folder.name}-1, and trained again")
    assert (workspace / "tiny" / "forgotten" / f"{folder.name}-1" / "journal.jsonl").exists()
    assert bits(folder) == bits(folders(kinds)["kd/0"])


def test_a_checkpoint_of_an_earlier_version_without_a_kind_is_of_an_epoch(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = checkpointing.take

    def older(*args: Any) -> Checkpoint:
        checkpoint = take(*args)
        del checkpoint.state["kind"]
        return checkpoint

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "take", older)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, tiny(["kd"]), Interrupt(after=1))
    run(workspace, tiny(["kd"]))
    folder = folders(workspace)["kd/0"]
    assert [record["epoch"] for record in records(folder, "start")] == [0, 1]
    assert bits(folder) == bits(folders(kinds)["kd/0"])


@pytest.mark.parametrize("name", ["ab", "born_again"])
def test_a_crash_between_checkpoint_and_record_of_an_early_epoch_leaves_each_record_once(
    name: str, kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CellFolder.save

    def killed(self: CellFolder, snapshot: Snapshot, journal: Extent) -> None:
        save(self, snapshot, journal)
        if snapshot.state["kind"] == "early":
            raise KeyboardInterrupt

    uninterrupted = bits(folders(kinds)[f"{name}/0"])
    early = len(uninterrupted["early"])
    assert early > 0
    with monkeypatch.context() as patch:
        patch.setattr(CellFolder, "save", killed)
        for _ in range(early):
            with pytest.raises(KeyboardInterrupt):
                run(workspace, tiny([row(name)]))
    run(workspace, tiny([row(name)]))
    assert bits(folders(workspace)[f"{name}/0"]) == uninterrupted


def test_a_cell_that_resumes_in_another_environment_says_so(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(workspace, tiny(["kd"]), Interrupt(after=1))
    version = "benchmark.execution.environment.platform.python_version"
    monkeypatch.setattr(version, lambda: "3.99")

    listening = Listening()
    run(workspace, tiny(["kd"]), listening)

    (warning,) = listening.warnings
    assert warning.startswith("pair / kd / seed 0: resuming in a different environment (")
    assert "-> 3.99" in warning


def test_a_full_disk_ends_the_run_with_one_line_and_the_study_resumes_later(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CellFolder.save
    left = [2]

    def full(self: CellFolder, snapshot: Snapshot, journal: Extent) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise InputError("the disk is full")
        save(self, snapshot, journal)

    with monkeypatch.context() as patch:
        patch.setattr(CellFolder, "save", full)
        with pytest.raises(InputError, match="the disk is full"):
            run(workspace, tiny(["student", "kd"]))
    run(workspace, tiny(["student", "kd"]))
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(kinds)[name])
