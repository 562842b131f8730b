"""What is written of a member: each fact once, and on disk before it is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.checkpoints import CellFolder, Checkpoint
from benchmark.records.done import read_done
from benchmark.records.journal import EarlyEpoch, Epoch
from benchmark.study.schema import Network
from benchmark.training.conditions import Task
from benchmark.training.progress import Progress
from benchmark.training.recorder import Recorder, epoch_record, record_failure
from tests.support.records import files_limited_to, read_journal

pytestmark = pytest.mark.trains


class Reported(Progress):
    """Keeps the events, with the kinds of the records that are on disk by then."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.events: list[tuple[str, list[str]]] = []

    def keep(self, event: str) -> None:
        records = read_journal(self.folder / "journal.jsonl")
        self.events.append((event, [record["kind"] for record in records]))

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        self.keep(f"started {epoch}/{epochs}")

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self.keep(f"epoch {epoch}/{epochs}")

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        assert (self.folder / "done.json").exists()
        self.keep(f"finished {metrics}")

    def failed(self, cell: str, reason: str) -> None:
        self.keep(f"failed: {reason}")


def at_once(write: Callable[[], None], report: Callable[[], None]) -> None:
    write()
    report()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = CellFolder(tmp_path / "cell")
    folder.begin({"seed": 0})
    return Task(folder, "cell", {}, Network(model="resnet18"), "kd", {})


@pytest.fixture
def progress(task: Task) -> Reported:
    return Reported(task.folder.path)


def test_every_event_is_on_disk_when_it_is_reported(task: Task, progress: Reported) -> None:
    recorder = Recorder(task, 1, progress, at_once)
    recorder.start(0, {"python": "3.11"})
    record = Epoch(epoch=0, metrics={"lr": 0.1})
    recorder.epoch(record, Checkpoint(0, {}, {}))
    recorder.trained(0, "ab", None)
    recorder.finish(0, "ab", {"test/acc1": 97.5})
    assert progress.events == [
        ("started 0/1", ["start"]),
        ("epoch 0/1", ["start", "epoch"]),
        ("finished {'test/acc1': 97.5}", ["start", "epoch", "trained", "final"]),
    ]


def test_results_that_a_crash_left_in_the_journal_stay_as_they_are(
    task: Task, progress: Reported
) -> None:
    for accuracy in (97.5, 12.0):
        recorder = Recorder(task, 1, progress, at_once)
        recorder.trained(0, "ab", None)
        recorder.finish(0, "ab", {"test/acc1": accuracy})
    kinds = [record["kind"] for record in read_journal(task.folder.files.journal)]
    assert kinds == ["trained", "final"]
    assert read_done(task.folder.files.done).metrics == {"test/acc1": 97.5}


def test_an_epoch_that_the_journal_has_is_not_recorded_again(
    task: Task, progress: Reported
) -> None:
    recorder = Recorder(task, 3, progress, at_once)
    early = EarlyEpoch(epoch=0, metrics={})
    for record in (early, early, Epoch(epoch=0, metrics={}), Epoch(epoch=0, metrics={})):
        recorder.epoch(record, Checkpoint(0, {}, {}))
    kinds = [record["kind"] for record in read_journal(task.folder.files.journal)]
    assert kinds == ["early", "epoch"]


def test_a_failure_that_the_disk_has_no_room_for_is_one_line_with_the_file(
    task: Task, progress: Reported
) -> None:
    with files_limited_to(3), pytest.raises(InputError) as error:
        record_failure(task, ValueError("out of luck"), progress)
    path = task.folder.files.error
    assert str(error.value).startswith(f"{path}: cannot be written (File too large); ")
    assert progress.events == []


def test_an_epoch_is_recorded_by_its_stage() -> None:
    training = epoch_record(1, 4, {"lr": 0.1})
    assert isinstance(training, Epoch)
    assert (training.epoch, training.metrics) == (1, {"lr": 0.1})
    early = epoch_record(-1, 2, {"lr": 0.1})
    assert isinstance(early, EarlyEpoch)
    assert (early.epoch, early.metrics) == (2, {"early/lr": 0.1})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FloatingPointError("non-finite loss"), "non-finite loss"),
        (ValueError("out of luck\nin two lines"), "ValueError: out of luck"),
        (ValueError(), "ValueError: ValueError"),
    ],
)
def test_a_failure_is_a_line_in_the_journal_and_a_traceback_in_a_file(
    error: Exception, reason: str, task: Task, progress: Reported
) -> None:
    record_failure(task, error, progress)
    (record,) = read_journal(task.folder.files.journal)
    assert record["reason"] == reason
    assert str(error) in task.folder.files.error.read_text()
    assert progress.events == [(f"failed: {reason}", ["failed"])]
