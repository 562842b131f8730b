"""Progress events of a training."""

from __future__ import annotations

from collections.abc import Mapping


class Progress:
    """Receives progress events. The base class ignores them.

    In all events, `cell` is a task's label. Epochs count from 0, with those of the early stage.
    """

    def planned(self, cells: Mapping[str, int]) -> None:
        """Cells will be trained, each for a number of epochs."""

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """The training of a cell starts or resumes at an epoch, of `epochs` in all."""

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch is over and recorded."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """A cell is evaluated and finished."""

    def failed(self, cell: str, reason: str) -> None:
        """A cell has failed and left its cohort."""

    def warn(self, text: str) -> None:
        """Show a message of one line to the user."""
