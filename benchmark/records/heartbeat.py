"""The heartbeat of a training process: which cell it is working on, and at what.

It outlives the process, so that whoever finds the process dead or hanging knows the cell.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

LENGTH = 256
"""Length of the file in bytes, which never changes."""

LOADING = "loading data and teacher"
BATCH = "batch and teacher"
BUILDING = "building"
STEP = "training"
SAVING = "checkpoint"
WRITING = "writing checkpoints"
EPOCH_END = "end of epoch"
TESTING = "evaluation"


class Beat(BaseModel):
    """What a process was doing when its heart last beat.

    Attributes:
        activity: One of the activities of this module.
        cell: The folder of the cell that it was working on; empty if it worked for all.
        epoch: Number of the epoch, counted from 0, early stage included.
        step: Index of the batch in the epoch.
    """

    model_config = ConfigDict(frozen=True)

    activity: str
    cell: str = ""
    epoch: int = 0
    step: int = 0


class Heartbeat:
    """Receives the beats of a training process. The base class ignores them."""

    def beat(self, activity: str, cell: str = "", epoch: int = 0, step: int = 0) -> None:
        """Note what the process turns to; see `Beat`."""


class HeartbeatFile(Heartbeat):
    """Writes each beat to a file: one system call, without waiting for the disk."""

    def __init__(self, path: Path):
        """Open a heartbeat file, and remove any earlier beat.

        Args:
            path: The file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._count = 0

    def beat(self, activity: str, cell: str = "", epoch: int = 0, step: int = 0) -> None:
        """Write a beat; one that cannot be written is left out."""
        self._count += 1
        content = {"activity": activity, "cell": cell, "epoch": epoch, "step": step}
        line = json.dumps({**content, "count": self._count}).encode()

        with contextlib.suppress(OSError):
            os.pwrite(self._file, line.ljust(LENGTH - 1) + b"\n", 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def raw_beat(path: Path) -> bytes:
    """Return the newest beat in a form that differs for any two beats; empty if there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def parse_beat(raw: bytes) -> Beat | None:
    """Return the beat that `raw_beat` read; None if there is none, or it was half written."""
    try:
        return Beat.model_validate_json(raw)
    except ValidationError:
        return None
