"""What is noted of the operations on the pretended GPU."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.support.pretended.script import Line

ROOT = Path(__file__).parents[3]
HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Sync:
    """A wait of the host for the device.

    Attributes:
        operation: What is waited for.
        place: File and line of the project, such as "methods/kd.py:49".
        callers: Names of the functions of the project that are running, the innermost first, such
            as "Member.step".
    """

    operation: str
    place: str
    callers: tuple[str, ...]

    @property
    def function(self) -> str:
        """The function of the project that waits."""
        return self.callers[0] if self.callers else ""

    def __str__(self) -> str:
        return f"{self.operation} at {self.place}"


@dataclass
class Record:
    """What is noted while a record is open.

    Attributes:
        syncs: The waits of the host.
        launches: How often each operation was launched.
        unstable: How often operations ran that PyTorch lists as not deterministic on CUDA.
        script: All operations in order; None if they are not kept.
    """

    syncs: list[Sync] = field(default_factory=list)
    launches: Counter[str] = field(default_factory=Counter)
    unstable: Counter[str] = field(default_factory=Counter)
    script: list[Line] | None = None


def sync(operation: str) -> Sync:
    """Return the wait for an operation that the running code has called."""
    frames = list(_project_frames())
    callers = tuple(_function(frame) for frame in frames)
    if not frames:
        return Sync(operation, "", ())

    innermost = frames[0]
    path = Path(innermost.f_code.co_filename).relative_to(ROOT).as_posix()
    return Sync(operation, f"{path}:{innermost.f_lineno}", callers)


def _function(frame: FrameType) -> str:
    """Return the name of the function that runs; that around it for a comprehension or a lambda."""
    return frame.f_code.co_qualname.partition(".<locals>.<")[0]


def _project_frames() -> Iterator[FrameType]:
    """Yield the running functions of the project, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        is_ours = name.startswith(f"{ROOT}/") and "site-packages" not in name
        if is_ours and not name.startswith(HERE):
            yield frame
        frame = frame.f_back
