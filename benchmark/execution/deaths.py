"""Describes how a process that trained cells ended, and which cell it was working on."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from benchmark.execution.worker_process import DEVICE_LOST
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Beat


@dataclass(frozen=True)
class Death:
    """The end of a process that had not finished its cohort.

    Attributes:
        how: How it ended, such as `was killed by SIGSEGV`.
        beat: What it was doing; None if that is unknown.
        details: Where its threads were, if that is known.
    """

    how: str
    beat: Beat | None
    details: str = ""

    @property
    def cell(self) -> str:
        """The folder of the cell that it was working on; empty if it worked for all."""
        return "" if self.beat is None else self.beat.cell

    @property
    def reason(self) -> str:
        """What happened, in one line."""
        return f"the process {self.how}{_where(self.beat)}"


def how_ended(code: int) -> str:
    """Describe the exit code of a process.

    Args:
        code: The code; -N after signal N.
    """
    if code == DEVICE_LOST:
        return "lost its GPU"
    if code >= 0:
        return f"exited with code {code}"

    name = _signal_name(-code)
    cause = " (perhaps out of memory)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{cause}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _where(beat: Beat | None) -> str:
    """Describe the time of a beat."""
    if beat is None:
        return ""

    epoch = f"epoch {beat.epoch + 1}"
    places = {
        heartbeat.STEP: f" in {epoch}, step {beat.step + 1}",
        heartbeat.SAVING: f" while it was saved in {epoch}, step {beat.step + 1}",
        heartbeat.EPOCH_END: f" at the end of {epoch}",
        heartbeat.TESTING: " in the evaluation",
        heartbeat.BUILDING: " while the cell was built",
        heartbeat.BATCH: " while it prepared a batch",
        heartbeat.WRITING: " while it waited for the disk",
        heartbeat.LOADING: " while it loaded data and teacher",
    }
    return places.get(beat.activity, "")
