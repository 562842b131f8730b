"""Messages between a process and its worker: JSON over a pipe, and progress events among them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from benchmark.errors import LeaveCohort
from benchmark.training.progress import Progress

ORPHANED = 75
"""Exit code of a worker whose parent has gone."""

EVENTS = ("started", "epoch", "busy", "finished", "failed", "warn")
"""The progress events that a worker sends."""


def send(connection: Connection, **message: Any) -> None:
    """Send a message.

    Raises:
        OSError: The other process has gone.
    """
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> dict[str, Any]:
    """Wait for a message.

    Raises:
        EOFError: The other process has gone.
        OSError: The connection is broken.
        ValueError: What arrived is no message.
    """
    message = json.loads(connection.recv_bytes())
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


class SendingProgress(Progress):
    """Sends the events of a worker to its parent, which decides after each epoch who leaves."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Send the event."""
        self._send("started", cell, epoch, epochs)

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Send the event, and wait for the decision.

        Raises:
            LeaveCohort: The cell is to leave its cohort.
        """
        self._send("epoch", cell, epoch, epochs, dict(metrics))
        try:
            reply = receive(self._connection)
        except (EOFError, OSError):
            os._exit(ORPHANED)

        if reply["leave"] is not None:
            raise LeaveCohort(reply["leave"])

    def busy(self, cell: str, activity: str) -> None:
        """Send the event."""
        self._send("busy", cell, activity)

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Send the event."""
        self._send("finished", cell, dict(metrics))

    def failed(self, cell: str, reason: str) -> None:
        """Send the event."""
        self._send("failed", cell, reason)

    def warn(self, text: str) -> None:
        """Send the event."""
        self._send("warn", text)

    def _send(self, event: str, *arguments: Any) -> None:
        """Send an event. An error here would be taken for one of the member being trained."""
        try:
            send(self._connection, event=event, arguments=arguments)
        except OSError:
            os._exit(ORPHANED)


def deliver(connection: Connection, message: Mapping[str, Any], progress: Progress) -> None:
    """Pass a worker's event on to a listener, and answer it if it is the end of an epoch.

    Args:
        connection: The connection to the worker. If it has died, the answer is lost.
        message: The event.
        progress: The listener.
    """
    event = message["event"]
    assert event in EVENTS
    leave = None
    try:
        getattr(progress, event)(*message["arguments"])
    except LeaveCohort as decision:
        leave = str(decision)

    if event == "epoch":
        with contextlib.suppress(OSError):
            send(connection, leave=leave)
