"""Progress events of training."""

from __future__ import annotations

from collections.abc import Mapping

SAVED = "teacher_saved_seconds"
"""Metric of an epoch: what sharing the teacher's forward passes saved; see `TeacherTime`."""


def saved_seconds(metrics: Mapping[str, float]) -> float:
    """Return what sharing the teacher's passes saved a cell in an epoch of either stage."""
    return metrics.get(SAVED, 0.0) + metrics.get(f"early/{SAVED}", 0.0)


class Progress:
    """Receives progress events. The base class ignores them.

    In all events, `cell` is a task's label. Epochs are counted from 0 at the start of the early
    stage.
    """

    def planned(self, cells: Mapping[str, int]) -> None:
        """Report the cells to train, with the number of epochs of each."""

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Report that a cell starts or resumes training at `epoch`, out of `epochs` in total."""

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Report that an epoch has ended and has been recorded."""

    def busy(self, cell: str, activity: str) -> None:
        """Report that a cell begins something slow besides training, such as its evaluation."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Report that a cell has been evaluated and is finished."""

    def failed(self, cell: str, reason: str) -> None:
        """Report that a cell has failed and left its cohort."""

    def left_cohort(self, cell: str, reason: str) -> None:
        """Report that a cell has left its cohort without an error, such as a pruned trial."""

    def warn(self, text: str) -> None:
        """Show a one-line message to the user."""
