"""Progress events of a training."""

from __future__ import annotations

from collections.abc import Mapping


class Progress:
    """What a cohort tells while it runs; this one says nothing. A `cell` is a task's label."""

    def planned(self, cells: Mapping[str, int]) -> None:
        """These cells will be trained, for so many epochs each."""

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Training begins at an epoch, counted from 0 with those of a stage before the training."""

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted likewise, is recorded."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """A cell is evaluated and done."""

    def failed(self, cell: str, reason: str) -> None:
        """A cell has left its cohort."""

    def warn(self, text: str) -> None:
        """Something that a person should know of, in one line."""
