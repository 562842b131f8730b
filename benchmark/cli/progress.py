"""What a person sees in the terminal while a study trains, and the plain tables of the other commands."""

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

from benchmark.training.progress import Progress

QUIET_SECONDS = 5.0
"""Plain output tells of epochs at most this often."""


class PlainProgress(Progress):
    """Lines for a log: every start, end and failure of a cell, and an epoch now and then."""

    def __init__(self, console: Console):
        self.console = console
        self._told = 0.0

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """A line for a cell that goes on; those that begin say nothing yet."""
        if epoch:
            self._line(f"{cell}: goes on at epoch {epoch + 1} of {epochs}")

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """A line, unless there was one a moment ago."""
        if time.monotonic() - self._told >= QUIET_SECONDS:
            self._line(f"{cell}: epoch {epoch + 1} of {epochs}, {_accuracy(metrics)}")
            self._told = time.monotonic()

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """A line with the result."""
        self._line(f"{cell}: {_result(metrics)}")

    def failed(self, cell: str, reason: str) -> None:
        """A line with the reason."""
        self._line(f"{cell}: failed: {reason}")

    def warn(self, text: str) -> None:
        """A line."""
        self._line(f"warning: {text}")

    def _line(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)


class LiveProgress(Progress):
    """Bars for cells and epochs with the time left, and the cells that train now with their accuracy."""

    def __init__(self, console: Console):
        self.console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._cells: dict[str, str] = {}
        self._done = 0
        self._live = Live(console=console, get_renderable=self._screen, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def planned(self, cells: Mapping[str, int]) -> None:
        """One bar for all cells together."""
        bar = self._bars.add_task(f"{len(cells)} cells", total=sum(cells.values()))
        self._tasks |= dict.fromkeys(cells, bar)

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """A cell appears; one that was not planned (a teacher) with a bar of its own."""
        if cell not in self._tasks:
            self._tasks[cell] = self._bars.add_task(cell, total=epochs)
        self._bars.advance(self._tasks[cell], epoch)
        self._cells[cell] = f"epoch {epoch + 1} of {epochs}"

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """The cell's line changes."""
        self._bars.advance(self._tasks[cell])
        self._cells[cell] = f"epoch {epoch + 1} of {epochs}, {_accuracy(metrics)}"

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """The cell's line leaves the live part and stays above it."""
        self._cells.pop(cell, None)
        if "test/acc1" in metrics:
            self.console.print(Text(f"{cell}: {_result(metrics)}"))

    def failed(self, cell: str, reason: str) -> None:
        """Likewise, with the reason."""
        self._cells.pop(cell, None)
        self.console.print(Text(f"{cell}: failed: {reason}", style="red"))

    def warn(self, text: str) -> None:
        """A line above the live part."""
        self.console.print(Text(f"warning: {text}", style="yellow"))

    def _screen(self) -> Group:
        now = Table.grid(padding=(0, 2))
        for cell, state in self._cells.items():
            now.add_row(Text(cell), Text(state))
        return Group(now, self._bars)


def _result(metrics: Mapping[str, float]) -> str:
    """Of a cell; those of a search meet no test images."""
    return f"test {metrics['test/acc1']:.2f} %" if "test/acc1" in metrics else "done"


def _accuracy(metrics: Mapping[str, float]) -> str:
    """Of the parts that there are: the legacy protocol has no validation, a stage before the training only a loss."""
    parts = {"train": "train/acc1", "validation": "val/acc1"}
    if "early/loss/total" in metrics:
        return f"before the training, loss {metrics['early/loss/total']:.3g}"
    return ", ".join(
        f"{name} {metrics[key]:.1f} %" for name, key in parts.items() if key in metrics
    )
