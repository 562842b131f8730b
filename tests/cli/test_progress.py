"""The screen during training: the bar counts the epochs to come; activities have a word."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli import progress as cli_progress
from benchmark.cli.progress import LiveProgress, PlainProgress
from benchmark.training.progress import Progress
from tests.support.studies import run, tiny


class Events(Progress):
    """Keeps activities and results in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def busy(self, cell: str, activity: str) -> None:
        self.events.append(f"{cell}: {activity}")

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        self.events.append(f"{cell}: finished")


def test_a_log_names_activities_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("benchmark.cli.progress.time.monotonic", lambda: clock[0])
    console = Console(file=StringIO(), width=200)
    plain = PlainProgress(console)

    plain.busy("one", "evaluating")
    plain.busy("two", "evaluating")
    clock[0] += cli_progress.QUIET_SECONDS
    plain.epoch("three", 0, 2, {"val/acc1": 50.0})
    plain.busy("three", "evaluating")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "one: evaluating",
        "three: epoch 1 of 2, validation 50.0 %",
        "three: evaluating",
    ]


def test_a_terminal_shows_the_activity_until_the_result() -> None:
    console = Console(file=StringIO(), width=200, force_terminal=True)
    live = LiveProgress(console)
    live.busy("pair / kd / seed 0", "evaluating")

    def shown() -> str:
        with console.capture() as text:
            console.print(live._screen())
        return text.get()

    assert "pair / kd / seed 0  evaluating" in shown()
    live.finished("pair / kd / seed 0", {"val/acc1": 50.0})
    assert "evaluating" not in shown()


@pytest.mark.trains
def test_finished_students_are_evaluated_with_a_word(workspace: Path) -> None:
    events = Events()
    run(workspace, tiny(["student", "kd"]), events)
    students = [event for event in events.events if not event.startswith("teacher")]
    assert students == [
        f"pair / {row} / seed 0: {event}"
        for row in ("student", "kd")
        for event in ("evaluating", "finished")
    ]


def shown(progress: LiveProgress) -> str:
    """Return the display as text."""
    console = Console(file=StringIO(), width=120)
    with console.capture() as capture:
        console.print(progress._screen())
    return capture.get()


def live() -> LiveProgress:
    return LiveProgress(Console(file=StringIO()))


def test_epochs_that_a_finished_cell_did_not_train_are_taken_off_the_bar() -> None:
    progress = live()
    progress.planned({"kd": 5, "at": 7})
    progress.started("kd", 0, 5)
    progress.epoch("kd", 0, 5, {})
    progress.epoch("kd", 1, 5, {})
    assert "2 cells" in shown(progress)
    assert "2/12 epochs" in shown(progress)

    progress.finished("kd", {})
    assert "2/9 epochs" in shown(progress)
    assert "kd" not in shown(progress)


def test_a_bar_is_full_once_its_cells_are_finished_or_have_failed() -> None:
    progress = live()
    progress.planned({"kd": 5, "at": 7, "complete": 3})
    progress.started("kd", 2, 5)
    for epoch in range(2, 5):
        progress.epoch("kd", epoch, 5, {})
    progress.finished("kd", {})

    progress.finished("complete", {})
    assert "5/12 epochs" in shown(progress)
    progress.started("at", 0, 7)
    progress.failed("at", "non-finite loss")
    assert "5/5 epochs" in shown(progress)


def test_the_bar_of_a_teacher_that_a_time_limit_stopped_is_full() -> None:
    progress = live()
    progress.planned({"kd": 5})
    progress.started("teacher resnet18", 0, 8)
    progress.epoch("teacher resnet18", 0, 8, {})
    progress.finished("teacher resnet18", {})
    assert "1/1 epochs" in shown(progress)
    assert "0/5 epochs" in shown(progress)


SHARED = {"teacher_saved_seconds": 40.0}
"""Metrics of an epoch in which cells shared the passes of their teacher."""


def test_a_log_tells_at_the_end_of_a_cohort_what_sharing_the_teacher_has_saved_so_far() -> None:
    console = Console(file=StringIO(), width=200)
    plain = PlainProgress(console)
    for cohort in range(2):
        for cell in ("kd", "at"):
            plain.started(f"{cell} / {cohort}", 0, 1)
        for cell in ("kd", "at"):
            plain.epoch(f"{cell} / {cohort}", 0, 1, SHARED)
        plain.failed(f"kd / {cohort}", "non-finite loss")
        plain.finished(f"at / {cohort}", {})

    plain.started("alone", 0, 1)
    plain.finished("alone", {})
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[1:4] == [
        "kd / 0: failed: non-finite loss",
        "at / 0: done",
        "sharing the teacher's forward passes saved 1 min 20 s so far",
    ]
    assert lines[-2:] == [
        "sharing the teacher's forward passes saved 2 min 40 s so far",
        "alone: done",
    ]


def test_a_pruned_trial_does_not_hold_back_what_sharing_has_saved() -> None:
    console = Console(file=StringIO(), width=200)
    plain = PlainProgress(console)
    for cell in ("kd", "at"):
        plain.started(cell, 0, 2)
        plain.epoch(cell, 0, 2, SHARED)
    plain.left_cohort("kd", "pruned after epoch 1")
    plain.finished("at", {})
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[-3:] == [
        "kd: pruned after epoch 1",
        "at: done",
        "sharing the teacher's forward passes saved 1 min 20 s so far",
    ]


def test_the_epochs_of_a_pruned_trial_are_taken_off_the_bar() -> None:
    progress = live()
    progress.planned({"kd": 5, "at": 7})
    progress.started("kd", 0, 5)
    progress.epoch("kd", 0, 5, {})
    progress.left_cohort("kd", "pruned after epoch 1")
    assert "1/8 epochs" in shown(progress)
    assert "kd" not in shown(progress)


def test_a_terminal_shows_what_sharing_the_teacher_has_saved_so_far() -> None:
    progress = live()
    progress.planned({"kd": 5})
    assert "sharing" not in shown(progress)

    progress.started("kd", 0, 5)
    progress.epoch("kd", 0, 5, {"early/teacher_saved_seconds": 2.0})
    progress.epoch("kd", 1, 5, SHARED)
    assert "sharing the teacher's forward passes saved 42 s so far" in shown(progress)
