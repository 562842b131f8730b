"""Starts a worker process, gives it cohorts, and notices when it dies or hangs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark import child_python
from benchmark.errors import InputError
from benchmark.execution import channel
from benchmark.execution.deaths import Death, how_ended
from benchmark.execution.executors.base import CohortSpec
from benchmark.execution.worker import study_folder
from benchmark.execution.worker_process import DUMP_SIGNAL, STOP_SIGNAL
from benchmark.files import write_error
from benchmark.records import heartbeat
from benchmark.records.heartbeat import parse_beat, raw_beat
from benchmark.records.layout import StudyFolder
from benchmark.training.progress import Progress
from benchmark.training.writing import LAST_SECONDS

POLL_SECONDS = 0.5
"""Longest time between two looks at the heartbeat."""

START_SECONDS = 2.0
"""Time until a process that is told to stop begins to: the operation that runs ends first."""

STOP_SECONDS = LAST_SECONDS + START_SECONDS
"""Time in which a process that is told to stop has written what it has saved."""

GRACE_SECONDS = 5.0
"""Time that a process has to end after it closed its connection."""

LONG_ACTIVITIES = 12
"""Loading, validation and evaluation may take so many times as long as a step."""

_STEPS = (heartbeat.STEP, heartbeat.BATCH, heartbeat.BUILDING)


class WorkerError(RuntimeError):
    """A worker met an error that is not the fault of a cell."""


@dataclass(frozen=True)
class End:
    """The end of a cohort.

    Attributes:
        death: How the process ended before the cohort did; None if the cohort is complete.
    """

    death: Death | None = None


class WorkerHandle:
    """A running worker process.

    Attributes:
        connection: Is readable when there is something to `attend` to.
    """

    def __init__(self, number: int):
        """Start a process, which imports what it needs in the meantime.

        Args:
            number: Number of the worker, by which its files are named.
        """
        self._number = number
        self._watch: _Watch
        self._is_stopping = False
        self.connection, theirs = multiprocessing.Pipe()
        self._process = _start(theirs, number)
        theirs.close()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, for whatever reason."""
        return self._process.poll() is not None

    def begin(self, spec: CohortSpec) -> None:
        """Let the process train a cohort.

        Args:
            spec: The cohort.

        Raises:
            InputError: The disk is full or read-only.
        """
        folder = study_folder(spec)
        for path in (folder.heartbeat(self._number), folder.crash(self._number)):
            _remove(path)

        self._watch = _Watch(folder, self._number, spec.step_minutes)
        with contextlib.suppress(OSError):  # if it has died, `attend` finds out how
            channel.send(self.connection, spec=spec.model_dump(mode="json"))

    def attend(self, progress: Progress) -> End | None:
        """Pass on what the process has told, and find out whether it is alive.

        Args:
            progress: Receives the events of all cells.

        Returns:
            How the cohort ended; None while it trains. After a death, the worker cannot be used.

        Raises:
            InputError: The worker cannot train the cohort, or the disk is full or read-only.
            WorkerError: The worker met an error that is not the fault of a cell.
        """
        try:
            if not self.connection.poll():
                if self.has_ended and not self.connection.poll():
                    raise EOFError  # what it started may keep the connection open
                return End(self._kill_hanging()) if self._watch.is_hanging() else None

            message = channel.receive(self.connection)
        except (EOFError, OSError, ValueError):
            return End(self._watch.death(how_ended(self._wait())))

        if message["event"] not in channel.EVENTS:
            _raise_error(message)
            return End()
        channel.deliver(self.connection, message, progress)
        return None

    def ask_to_stop(self) -> None:
        """Let the process write what it has saved, and end."""
        if not self._is_stopping:
            self._process.send_signal(STOP_SIGNAL)
        self._is_stopping = True

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process, once it has written what it has saved, or after a few seconds.

        No file is left half-written.

        Args:
            seconds: How long to wait.
        """
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

        self._end()
        self.connection.close()

        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _wait(self) -> int:
        """Return the exit code of a process that has closed its connection."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        return self._end()

    def _end(self) -> int:
        """End the process and all that it has started, such as those that decode images.

        Returns:
            The exit code of the process; its own if it had ended before.
        """
        # On macOS, a group whose processes have all ended cannot be signalled.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _kill_hanging(self) -> Death:
        """Make a process write the stack of each of its threads to a file, and end it."""
        self._process.send_signal(DUMP_SIGNAL)
        time.sleep(POLL_SECONDS)
        self._end()
        return self._watch.death(f"made no progress for {self._watch.limit / 60:g} minutes")


class _Watch:
    """Measures how long a worker has sent no heartbeat."""

    def __init__(self, folder: StudyFolder, worker: int, step_minutes: float):
        self._heartbeat = folder.heartbeat(worker)
        self._crash = folder.crash(worker)
        self._step_seconds = 60 * step_minutes
        self._beat = b""
        self._idle = 0.0
        self._looked = time.monotonic()

    @property
    def limit(self) -> float:
        """Seconds that the present activity may take."""
        beat = parse_beat(self._beat)
        is_step = beat is not None and beat.activity in _STEPS
        return self._step_seconds * (1 if is_step else LONG_ACTIVITIES)

    def is_hanging(self) -> bool:
        """Look at the heartbeat, and return whether the worker has exceeded its limit."""
        now = time.monotonic()
        # A machine or a parent that was suspended says nothing about the worker.
        passed = min(now - self._looked, 2 * POLL_SECONDS)
        self._looked = now

        beat = raw_beat(self._heartbeat)
        self._idle = self._idle + passed if beat == self._beat else 0.0
        self._beat = beat
        return self._idle > self.limit

    def death(self, how: str) -> Death:
        """Return the death of the worker, which has ended."""
        details = self._crash.read_text(errors="replace") if self._crash.exists() else ""
        return Death(how, parse_beat(raw_beat(self._heartbeat)), details)


def _start(connection: Connection, number: int) -> subprocess.Popen[bytes]:
    """Start the process. Forking this one would copy its threads' locks and its GPU state."""
    file = connection.fileno()
    arguments = [str(file), str(os.getpid()), str(number)]
    return subprocess.Popen(
        child_python.command("benchmark.execution.worker_process", *arguments),
        stdin=subprocess.PIPE,
        pass_fds=[file],
        env=child_python.environment(),
        # Ctrl+C in a terminal reaches this process alone, which then ends the worker's group.
        process_group=0,
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def _raise_error(message: dict[str, str]) -> None:
    """Raise the error that ended a cohort, if there was one."""
    if message["event"] == "refused":
        raise InputError(*message["reason"].splitlines())

    if message["event"] == "broke":
        error = WorkerError(message["reason"])
        error.add_note(message["details"])
        raise error
