"""Named places where a test can have the process killed: `KDBENCH_FAILPOINT=checkpoint.written:3` dies at the third."""

from __future__ import annotations

import os
import signal

_hits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kills this process as `kill -9` does when the environment asks for it at this place; otherwise does nothing."""
    wanted = os.environ.get("KDBENCH_FAILPOINT")
    if wanted is None:
        return
    place, _, count = wanted.partition(":")
    if place == name:
        _hits[name] = _hits.get(name, 0) + 1
        if _hits[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
