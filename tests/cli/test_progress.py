"""The live display of training: its bar counts the epochs that will be trained."""

from __future__ import annotations

import io

from rich.console import Console

from benchmark.cli.progress import LiveProgress


def shown(progress: LiveProgress) -> str:
    """Return the display as text."""
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(progress._screen())
    return capture.get()


def live() -> LiveProgress:
    return LiveProgress(Console(file=io.StringIO()))


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
