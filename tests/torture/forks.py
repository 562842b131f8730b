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


class Running:
    """A command that runs in a child process.

    Attributes:
        pid: The process.
    """

    def __init__(self, pid: int, out: Path, err: Path):
        self.pid = pid
        self._files = (out, err)
        self._start = time.monotonic()

    def wait(self, seconds: float = LONGEST) -> Ended:
        """Wait for the end; a command that takes too long is killed, and said to hang."""
        code = _wait(self.pid, seconds)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            _wait(self.pid, LONGEST)
            code = HANGS
        return self._ended(code)

    def kill_after(self, seconds: float) -> Ended:
        """Wait for some seconds, and kill the command if it still runs."""
        code = _wait(self.pid, seconds)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            return self.wait()
        return self._ended(code)

    def _ended(self, code: int) -> Ended:
        out, err = (path.read_text(errors="replace") for path in self._files)
        return Ended(code, out, err, time.monotonic() - self._start)


def background(
    scratch: Path,
    *words: Any,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] = lambda: None,
) -> Running:
    """Start a command in a child process.

    Args:
        scratch: Folder for its output.
        words: The command line.
        environment: Variables to set.
        before: Called in the child before the command.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    out, err = scratch / "out", scratch / "err"

    child = os.fork()
    if child == 0:
        _become(out, err, words, environment or {}, before)
    return Running(child, out, err)


def kdbench(
    scratch: Path,
    *words: Any,
    failpoint: str = "",
    kill_after: float | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command in a child process to its end.

    Args:
        scratch: Folder for its output.
        words: The command line.
        failpoint: Point of the program at which it kills itself.
        kill_after: Seconds after which it is killed.
        environment: Variables to set.
        before: Called in the child before the command.
    """
    variables = {VARIABLE: failpoint, **(environment or {})}
    running = background(scratch, *words, environment=variables, before=before)
    return running.wait() if kill_after is None else running.kill_after(kill_after)


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
