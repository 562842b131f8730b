"""A second process that writes journals to MLflow while a study is trained."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmark import child_python
from benchmark.tracking.store import Store

LAST_SYNC_SECONDS = 2.0
"""Time that the process has for its last sync once a signal has stopped the training.

Importing MLflow alone can take longer. What MLflow lacks then comes with the next sync.
"""


@contextmanager
def following(
    folder: Path, store: Store | None, warn: Callable[[str], None], *, system_metrics: bool = False
) -> Iterator[Callable[[], bool]]:
    """Run a process that writes journals to MLflow while this process trains.

    The new process exits when its standard input closes, however this process ends. If a signal
    ends this process, the last sync is cut short.

    Args:
        folder: Folder of the study.
        store: The MLflow store; None to record nothing.
        warn: Receives the messages of the process.
        system_metrics: Whether the process records load and memory of this machine.

    Yields:
        A function that, after the context has been left, returns whether everything was recorded.
    """
    if store is None:
        yield lambda: False
        return

    options = ["--follow", "--system-metrics"] if system_metrics else ["--follow"]
    arguments = ["--workspace", str(folder.parent), "sync", folder.name, *options]
    process = subprocess.Popen(
        child_python.command("benchmark", *arguments),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The address may contain a password, which every user could read in the arguments.
        env=child_python.environment(MLFLOW_TRACKING_URI=store.uri),
        # In this process's group, Ctrl+C could reach the child before it ignores the signal.
        process_group=0,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_forward, args=(process.stderr, warn), daemon=True)
    reader.start()
    seconds = None
    try:
        yield lambda: process.returncode == 0
    except (KeyboardInterrupt, SystemExit):
        seconds = LAST_SYNC_SECONDS
        raise
    finally:
        process.stdin.close()
        _wait(process, seconds)
        reader.join()


def _wait(process: subprocess.Popen[str], seconds: float | None) -> None:
    """Wait until a process has ended, and kill it after some seconds, if a number is given."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _forward(lines: IO[str], warn: Callable[[str], None]) -> None:
    """Show the lines of another process as warnings."""
    with lines:
        for line in lines:
            warn(line.rstrip())
