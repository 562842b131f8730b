"""Signals: the first one stops a command, which has a few seconds for it; a second ends it at once.

Python handles a signal in the main thread, once that has left the code of an extension, such as a
step of a large network or a database that waits for a lock. A thread of its own sees to it that a
command ends nevertheless. Checkpoints and journals are whole at any moment.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
from typing import NoReturn

from benchmark.errors import Stopped

GRACE_SECONDS = 4.5
"""Time that a command has to end after the first signal."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_MESSAGE = "kdbench: stopped; run the same command again to resume\n"

_SHOW_CURSOR = b"\x1b[?25h"
"""Makes the cursor visible again, which a live display hides."""

_listening = threading.Event()
_stopping = threading.Event()


def listen() -> None:
    """Let SIGTERM and SIGINT raise `Stopped` in the main thread."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)

    if not _listening.is_set():
        _listening.set()
        _start_watching()


def exit_without_teardown(code: int) -> NoReturn:
    """End the process at once, and the processes that decode images for it.

    Args:
        code: The exit code.
    """
    for child in multiprocessing.active_children():
        child.terminate()

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _stop(number: int, _: object) -> None:
    """End the command, which keeps what it has recorded; a second signal does not wait for this."""
    for other in STOP_SIGNALS:
        signal.signal(other, _stop_at_once)

    _stopping.set()
    _write(_MESSAGE.encode())
    raise Stopped(128 + number)


def _stop_at_once(number: int, _: object) -> NoReturn:
    _end(number)


def _start_watching() -> None:
    """Start the thread that is told of each signal when it arrives."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # A forked child must not report its signals to this process.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def _watch(reader: int) -> None:
    """End the process once it was signalled twice, or has not ended in time."""
    while True:
        first = _next_signal(reader)
        if _is_handled_here(first):
            last = _next_signal(reader, GRACE_SECONDS) or first
            if _is_handled_here(last):
                _end(last)


def _is_handled_here(number: int) -> bool:
    """Return whether a signal is to stop the command; some commands handle signals themselves."""
    return number in STOP_SIGNALS and signal.getsignal(number) in (_stop, _stop_at_once)


def _next_signal(reader: int, seconds: float | None = None) -> int:
    """Return the number of the next signal; 0 if none arrives in time."""
    ready, _, _ = select.select([reader], [], [], seconds)
    return os.read(reader, 1)[0] if ready else 0


def _end(number: int) -> NoReturn:
    """End the process because of a signal."""
    if not _stopping.is_set():
        _write(_MESSAGE.encode())
    if sys.stderr.isatty():
        _write(_SHOW_CURSOR)
    os._exit(128 + number)


def _write(content: bytes) -> None:
    """Write to standard error, even if a signal has interrupted another write to it."""
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), content)
