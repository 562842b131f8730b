"""Named points in the program at which a test can kill the process."""

from __future__ import annotations

import os
import signal

VARIABLE = "KDBENCH_FAILPOINT"
"""Environment variable that names a point: `checkpoint.written:3` kills the process the third time
that it reaches this point."""

_visits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL if the environment variable names this point."""
    setting = os.environ.get(VARIABLE)
    if setting is None:
        return

    point, _, count = setting.partition(":")
    if point != name:
        return

    _visits[name] = _visits.get(name, 0) + 1
    if _visits[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
