"""Progress of training on the screen: lines for a log, or a live display for a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from benchmark.printable import printable
from benchmark.training.progress import Progress, saved_seconds
from benchmark.wording import counted, duration

QUIET_SECONDS = 5.0
"""Minimum time between two lines about epochs."""


class PlainProgress(Progress):
    """Lines for a log: every result and failure, and occasional epochs and other activities.

    When no cell is left that trains, as at the end of a cohort, a line says how much time sharing
    the teacher's forward passes has saved so far.
    """

    def __init__(self, console: Console):
        self.console = console
        self._training: set[str] = set()
        self._saved = 0.0
        self._told_saved = 0.0
        self._last_epoch = 0.0
        self._last_activity = 0.0

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Print a line for a cell that resumes."""
        self._training.add(cell)
        if epoch:
            self._print(f"{cell}: resumes at epoch {epoch + 1} of {epochs}")

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Print a line, unless one was printed within the last `QUIET_SECONDS`."""
        self._saved += saved_seconds(metrics)
        if time.monotonic() - self._last_epoch >= QUIET_SECONDS:
            self._print(f"{cell}: epoch {epoch + 1} of {epochs}, {_accuracies(metrics)}")
            self._last_epoch = time.monotonic()

    def busy(self, cell: str, activity: str) -> None:
        """Print a line, unless one was printed within the last `QUIET_SECONDS`."""
        if time.monotonic() - self._last_activity >= QUIET_SECONDS:
            self._print(f"{cell}: {activity}")
            self._last_activity = time.monotonic()

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Print the result."""
        self._print(f"{cell}: {_result(metrics)}")
        self._end(cell)

    def failed(self, cell: str, reason: str) -> None:
        """Print the reason."""
        self._print(f"{cell}: failed: {reason}")
        self._end(cell)

    def left_cohort(self, cell: str, reason: str) -> None:
        """Print the reason."""
        self._print(f"{cell}: {reason}")
        self._end(cell)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(f"warning: {text}")

    def _end(self, cell: str) -> None:
        """Print the time saved, if this was the last cell that trains and it has grown."""
        self._training.discard(cell)
        if not self._training and self._saved - self._told_saved >= 1:
            self._print(_saved(self._saved))
            self._told_saved = self._saved

    def _print(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)


class LiveProgress(Progress):
    """Bars with the time left, the accuracy of each cell that is training, and the time saved."""

    def __init__(self, console: Console):
        self.console = console
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar_of_cell: dict[str, TaskID] = {}
        self._epochs_of_bar: dict[TaskID, int] = {}
        self._epochs_left: dict[str, int] = {}
        self._state_of_cell: dict[str, str] = {}
        self._saved = 0.0
        self._live = Live(console=console, get_renderable=self._screen, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def planned(self, cells: Mapping[str, int]) -> None:
        """Show one bar for all cells together."""
        self._add_bar(counted(len(cells), "cell"), cells)

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Show a cell; an unplanned one (a teacher) gets its own bar."""
        if cell not in self._bar_of_cell:
            self._add_bar(cell, {cell: epochs})
        self._advance(cell, epoch)
        self._state_of_cell[cell] = f"epoch {epoch + 1} of {epochs}"

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Update the cell's line."""
        self._advance(cell, 1)
        self._saved += saved_seconds(metrics)
        self._state_of_cell[cell] = f"epoch {epoch + 1} of {epochs}, {_accuracies(metrics)}"

    def busy(self, cell: str, activity: str) -> None:
        """Show the activity in the cell's line."""
        self._state_of_cell[cell] = activity

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Print the cell's result, if it was tested, above the live display."""
        self._end(cell)
        if "test/acc1" in metrics:
            self.console.print(Text(printable(f"{cell}: {_result(metrics)}")))

    def failed(self, cell: str, reason: str) -> None:
        """Print the cell's failure above the live display."""
        self._end(cell)
        self.console.print(Text(printable(f"{cell}: failed: {reason}"), style="red"))

    def left_cohort(self, cell: str, reason: str) -> None:
        """Remove the cell's line, and print the reason above the live display."""
        self._end(cell)
        self.console.print(Text(printable(f"{cell}: {reason}")))

    def warn(self, text: str) -> None:
        """Print a warning above the live display."""
        self.console.print(Text(printable(f"warning: {text}"), style="yellow"))

    def _add_bar(self, name: str, cells: Mapping[str, int]) -> None:
        """Add a bar for cells, given the number of epochs of each."""
        epochs = sum(cells.values())
        bar = self._bars.add_task(printable(name), total=epochs)

        self._bar_of_cell |= dict.fromkeys(cells, bar)
        self._epochs_of_bar[bar] = epochs
        self._epochs_left |= cells

    def _advance(self, cell: str, epochs: int) -> None:
        self._bars.advance(self._bar_of_cell[cell], epochs)
        self._epochs_left[cell] = self._epochs_left.get(cell, 0) - epochs

    def _end(self, cell: str) -> None:
        """Remove a cell's line, and take the epochs that it will not train off its bar."""
        self._state_of_cell.pop(cell, None)
        left = self._epochs_left.pop(cell, 0)
        if left > 0:
            bar = self._bar_of_cell[cell]
            self._epochs_of_bar[bar] -= left
            self._bars.update(bar, total=self._epochs_of_bar[bar])

    def _screen(self) -> Group:
        cells = Table.grid(padding=(0, 2))
        for cell, state in self._state_of_cell.items():
            cells.add_row(Text(printable(cell)), Text(printable(state)))

        saved = [Text(_saved(self._saved))] if self._saved >= 1 else []
        return Group(cells, *saved, self._bars)


def _result(metrics: Mapping[str, float]) -> str:
    """Return the result of a cell; cells of a search have no test accuracy."""
    return f"test {metrics['test/acc1']:.2f} %" if "test/acc1" in metrics else "done"


def _saved(seconds: float) -> str:
    return f"sharing the teacher's forward passes saved {duration(seconds)} so far"


def _accuracies(metrics: Mapping[str, float]) -> str:
    """Return the accuracies that an epoch has, or the loss in the early stage."""
    if "early/loss/total" in metrics:
        return f"early stage, loss {metrics['early/loss/total']:.3g}"

    keys = {"train": "train/acc1", "validation": "val/acc1"}
    parts = [f"{name} {metrics[key]:.1f} %" for name, key in keys.items() if key in metrics]
    return ", ".join(parts)
