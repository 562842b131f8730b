"""The main program of a worker process, which trains the cohorts that its parent sends."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import torch

from benchmark.errors import InputError, Stopped, first_line
from benchmark.execution.channel import ORPHANED, SendingProgress, receive, send
from benchmark.execution.executors.base import CohortSpec
from benchmark.execution.worker import Worker, study_folder
from benchmark.files import write_error
from benchmark.records import heartbeat
from benchmark.records.heartbeat import HeartbeatFile

DEVICE_LOST = 76
"""Exit code of a worker whose GPU refuses all further work."""

DUMP_SIGNAL = signal.SIGUSR1
"""The signal that makes a worker write the stack of each of its threads to a file."""

STOP_SIGNAL = signal.SIGUSR2
"""The signal that makes a worker write what its cohort has saved, and end."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Train cohorts until the parent closes the connection or stops this process.

    The arguments are the number of the connection's file, the process id of the parent, and the
    number of the worker.
    """
    file, parent, number = map(int, sys.argv[1:])
    connection = Connection(file)
    signal.signal(STOP_SIGNAL, _stop)
    _end_with_parent(parent)
    _be_first_without_memory()

    try:
        _serve(connection, number)
    except Stopped:
        os._exit(128 + STOP_SIGNAL)


def _stop(number: int, _: object) -> NoReturn:
    raise Stopped(128 + number)


def _serve(connection: Connection, number: int) -> None:
    """Train the cohorts that the parent sends, one after another."""
    worker = Worker()
    while True:
        try:
            spec = CohortSpec.model_validate(receive(connection)["spec"])
        except (EOFError, OSError):
            return

        _work(spec, worker, connection, number)


def _work(spec: CohortSpec, worker: Worker, connection: Connection, number: int) -> None:
    """Train a cohort while a heartbeat and a file for a crash are open."""
    folder = study_folder(spec)
    crash = folder.crash(number)
    with contextlib.ExitStack() as opened:
        try:
            heart = opened.enter_context(
                contextlib.closing(HeartbeatFile(folder.heartbeat(number)))
            )
            report = opened.enter_context(crash.open("w"))
        except OSError as error:
            problem = write_error(Path(error.filename or folder.path), error)
            send(connection, event="refused", reason=str(problem))
            return

        faulthandler.enable(report)
        faulthandler.register(DUMP_SIGNAL, report)
        _train(spec, worker, connection, heart)
        faulthandler.unregister(DUMP_SIGNAL)
        faulthandler.disable()

    with contextlib.suppress(OSError):  # the next cohort empties it anyway
        crash.unlink(missing_ok=True)


def _train(spec: CohortSpec, worker: Worker, connection: Connection, heart: HeartbeatFile) -> None:
    """Train a cohort, and tell the parent how it ended."""
    heart.beat(heartbeat.LOADING)
    try:
        worker.work(spec, SendingProgress(connection), heart)
    except InputError as error:
        send(connection, event="refused", reason=str(error))
    except torch.AcceleratorError as error:
        print(first_line(error), file=sys.stderr)
        os._exit(DEVICE_LOST)
    except Exception as error:
        details = "".join(traceback.format_exception(error))
        reason = f"{type(error).__name__}: {first_line(error)}"
        send(connection, event="broke", reason=reason, details=details)
    else:
        send(connection, event="done")


def _end_with_parent(parent: int) -> None:
    """Let this process end when its parent does, even by SIGKILL, and leave signals to it.

    An orphan would write into a study that another process trains by then.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a cluster signals every process of a job
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ORPHANED)  # it died before the request

    def wait() -> None:
        # A read of sys.stdin would hold its lock, on which processes that decode images would wait
        # for ever: each closes its copy of sys.stdin first.
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=wait, daemon=True).start()


def _be_first_without_memory() -> None:
    """Tell Linux to end this process, and not its parent, when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    main()
