"""Runs commands in children of this process, which has imported everything that takes time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.cli import main
from benchmark.failpoint import VARIABLE

LONGEST = 180.0
"""Seconds after which a command is said to hang."""

HANGS = -1000
"""The code of a command that did not end."""


class Ended(NamedTuple):
    """The exit code of a command, negative after a signal, its output, and its duration."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether the command was killed."""
        return self.code == -signal.SIGKILL

    @property
    def problem(self) -> str | None:
        """What no command may do, whatever is done to it; None if it did not."""
        if self.code == HANGS:
            return "hangs"
        if "Traceback" in self.err or "Traceback" in self.out:
            return "prints a traceback"
        if self.code not in (0, 1, 2, 130, 143, -signal.SIGKILL):
            return f"ends with code {self.code}"
        if self.code in (1, 2) and not self.err.strip():
            return "fails without a message"
        return None


def kdbench(
    scratch: Path,
    *words: Any,
    failpoint: str = "",
    kill_after: float | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] = lambda: None,
    number: int = signal.SIGKILL,
) -> Ended:
    """Run a command in a child process.

    Args:
        scratch: Folder for its output.
        words: The command line.
        failpoint: Point of the program at which it kills itself.
        kill_after: Seconds after which it gets a signal.
        environment: Variables to set.
        before: Called in the child before the command.
        number: The signal.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    out, err = scratch / "out", scratch / "err"
    start = time.monotonic()

    child = os.fork()
    if child == 0:
        _become(out, err, words, {VARIABLE: failpoint, **(environment or {})}, before)

    code = _wait(child, LONGEST if kill_after is None else kill_after)
    if code is None:
        os.kill(child, number if kill_after is not None else signal.SIGKILL)
        code = _wait(child, LONGEST)
        if kill_after is None or code is None:
            code = HANGS
    seconds = time.monotonic() - start
    return Ended(code, *(path.read_text(errors="replace") for path in (out, err)), seconds)


def _become(
    out: Path,
    err: Path,
    words: tuple[Any, ...],
    environment: Mapping[str, str],
    before: Callable[[], None],
) -> None:
    """Turn this process into the command; never returns."""
    code = 99
    try:
        os.setpgid(0, 0)
        for number, path in ((1, out), (2, err)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        for name, value in environment.items():
            if value:
                os.environ[name] = value
        sys.argv = ["kdbench", *map(str, words)]
        before()
        main.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 98
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    """Return how a child ended; None if it has not within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None
