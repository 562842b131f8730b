"""Members train on while their epochs are written, and everything is as if they had waited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.errors import DamageError, InputError, LeaveCohort
from benchmark.records.checkpoints import CellFolder, Snapshot
from benchmark.training.progress import Progress
from tests.support.disks import slow_disk
from tests.support.records import read_journal
from tests.support.studies import bits, folders, run, tiny

pytestmark = pytest.mark.trains

KD = "pair / kd / seed 0"


class Epochs(Progress):
    """Keeps the epochs as they are reported, and removes a cell after one of them."""

    def __init__(self, leaves: tuple[str, int] | None = None):
        self.reported: list[tuple[str, int]] = []
        self.leaves = leaves

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self.reported.append((cell, epoch))
        if (cell, epoch) == self.leaves:
            raise LeaveCohort("enough")


def kinds_of(workspace: Path, name: str) -> list[str]:
    """Return the kinds of the records in a cell's journal."""
    journal = read_journal(folders(workspace)[name] / "journal.jsonl")
    return [record["kind"] for record in journal]


def in_second_epoch(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the first step of kd's second epoch raise an error."""
    forward = methods.get("kd").forward

    def failing(self: methods.Method, student: Any, teacher: Any, batch: Any) -> Any:
        if batch.epoch == 1:
            raise error
        return forward(self, student, teacher, batch)

    patch.setattr(methods.get("kd"), "forward", failing)


def while_writing(patch: pytest.MonkeyPatch, epoch: int, error: Callable[[], Exception]) -> None:
    """Let the writing of kd's checkpoint of an epoch raise an error."""
    save = CellFolder.save

    def failing(folder: CellFolder, snapshot: Snapshot, *arguments: Any) -> None:
        configuration = (folder.path / "config.json").read_text()
        if '"name": "kd"' in configuration and snapshot.epoch == epoch:
            raise error()
        save(folder, snapshot, *arguments)

    patch.setattr(CellFolder, "save", failing)


def test_on_a_slow_disk_bits_and_the_order_of_the_epochs_are_the_same(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_disk(monkeypatch, [0.3, 0.0, 0.1])
    epochs = Epochs()
    assert not run(workspace, tiny(["student", "kd", "at"]), epochs).failed

    cells = [f"pair / {name} / seed 0" for name in ("student", "kd", "at")]
    assert epochs.reported[1:] == [(cell, epoch) for epoch in (0, 1) for cell in cells]
    for name in ("student/0", "kd/0"):
        assert bits(folders(workspace)[name]) == bits(folders(kinds)[name])


def test_a_member_that_fails_while_its_epoch_is_written_has_the_epoch_in_its_journal(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_disk(monkeypatch)
    in_second_epoch(monkeypatch, ValueError("out of luck"))
    summary = run(workspace, tiny(["student", "kd"]))
    assert summary.failed == {KD: "ValueError: out of luck"}
    assert kinds_of(workspace, "kd/0") == ["start", "epoch", "failed"]
    assert bits(folders(workspace)["student/0"]) == bits(folders(kinds)["student/0"])


def test_a_study_that_is_interrupted_loses_no_epoch_that_has_ended(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        slow_disk(patch)
        in_second_epoch(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(workspace, tiny(["student", "kd"]))
    for name in ("student/0", "kd/0"):
        assert kinds_of(workspace, name) == ["start", "epoch"]

    assert not run(workspace, tiny(["student", "kd"])).failed
    for name in ("student/0", "kd/0"):
        assert kinds_of(workspace, name).count("start") == 2
        assert bits(folders(workspace)[name]) == bits(folders(kinds)[name])


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("broken"), "ValueError: broken"),
        (DamageError("a.json: is damaged"), "a.json: is damaged; set aside in forgotten/"),
    ],
)
def test_an_error_of_the_writing_fails_the_member_whose_files_they_are(
    error: Exception,
    reason: str,
    epoch: int,
    kinds: Path,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    while_writing(monkeypatch, epoch, lambda: error)
    epochs = Epochs()
    summary = run(workspace, tiny(["student", "kd"]), epochs)
    assert summary.failed.keys() == {KD}
    assert summary.failed[KD].startswith(reason)
    assert (KD, epoch) not in epochs.reported
    assert not (folders(workspace)["kd/0"] / "done.json").exists()
    assert bits(folders(workspace)["student/0"]) == bits(folders(kinds)["student/0"])


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_full_disk_ends_the_run_before_any_cell_is_done(
    epoch: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_writing(monkeypatch, epoch, lambda: InputError("the disk is full"))
    with pytest.raises(InputError, match=r"^the disk is full$"):
        run(workspace, tiny(["student", "kd"]))
    assert kinds_of(workspace, "student/0") == ["start"] + (epoch + 1) * ["epoch"]
    assert kinds_of(workspace, "kd/0") == ["start"] + epoch * ["epoch"]


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_member_that_leaves_after_an_epoch_has_no_later_one_even_if_it_has_begun_it(
    epoch: int, kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_disk(monkeypatch)
    summary = run(workspace, tiny(["student", "kd"]), Epochs(leaves=(KD, epoch)))
    assert summary.failed == {KD: "not trained"}
    assert kinds_of(workspace, "kd/0") == ["start"] + (epoch + 1) * ["epoch"]
    assert bits(folders(workspace)["student/0"]) == bits(folders(kinds)["student/0"])


def test_a_member_that_a_listener_removes_while_it_fails_has_left_without_a_failure(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_disk(monkeypatch)
    in_second_epoch(monkeypatch, ValueError("out of luck"))
    summary = run(workspace, tiny(["student", "kd"]), Epochs(leaves=(KD, 0)))
    assert summary.failed == {KD: "not trained"}
    assert kinds_of(workspace, "kd/0") == ["start", "epoch"]
