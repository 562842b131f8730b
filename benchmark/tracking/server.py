"""Runs MLflow's own server for a local store."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO
from urllib.parse import urlsplit

from benchmark.errors import InputError, TrackingError
from benchmark.redact import shown
from benchmark.tracking.client import ENVIRONMENT, Client
from benchmark.tracking.store import Store
from benchmark.tracking.tags import REPORT_PAGE

_MODE = "?workflowType=machine_learning"
"""Without this suffix, MLflow opens in its mode for language models, which shows no runs."""

_END_PATIENCE = 10.0
"""Seconds to wait for a server to stop before it is killed."""


def without_password(base_url: str) -> str:
    """Return the address of a server without user and password."""
    url = urlsplit(base_url)
    host = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{host}{url.path.rstrip('/')}"


def addresses(base_url: str, experiment_id: str) -> dict[str, str]:
    """Return the addresses of MLflow's `start` page and of the `runs` of an experiment."""
    experiments = f"{without_password(base_url)}/#/experiments"
    return {
        "start": f"{experiments}{_MODE}",
        "runs": f"{experiments}/{experiment_id}/runs{_MODE}",
    }


def report_path(experiment_id: str, run_id: str) -> str:
    """Return the address of a report's page, relative to that of the server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{REPORT_PAGE}{_MODE}"


def serve(
    store: Store, host: str = "127.0.0.1", port: int = 5000, patience: float = 120.0
) -> subprocess.Popen[bytes]:
    """Start MLflow's server for a local store, and wait until it answers.

    Args:
        store: The store.
        host: Address to listen on.
        port: Port to listen on.
        patience: Seconds to wait for an answer.

    Returns:
        The server. It and its children form their own process group; stop them with `end`.

    Raises:
        InputError: The store is itself a server, there is no store yet, or the port is in use.
        TrackingError: The server exited or does not answer; the message contains its last error.
    """
    if store.database is None or store.artifacts is None:
        raise InputError(f"{shown(store.uri)}: is already a server; open it in a browser")
    if not store.database.exists():
        raise InputError(f"{store.database}: nothing is recorded there yet")

    Client(store)  # reports a damaged store more clearly than the server
    _check_port(host, port)

    with tempfile.TemporaryFile() as log:
        server = _start(store.uri, store.artifacts, host, port, log)
        try:
            _wait(server, host, port, log, patience)
        except BaseException:
            end(server)
            raise

    return server


def _start(
    uri: str, artifacts: str, host: str, port: int, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start the server with one worker and no background jobs."""
    options = {
        "--backend-store-uri": uri,
        "--artifacts-destination": artifacts,
        "--host": host,
        "--port": str(port),
        "--workers": "1",
    }
    command = [sys.executable, "-m", "mlflow", "server"]
    for option, value in options.items():
        command += [option, value]

    return subprocess.Popen(
        command,
        env={**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def end(server: subprocess.Popen[bytes]) -> None:
    """Stop a server that `serve` started, and its children."""
    deadline = time.monotonic() + _END_PATIENCE

    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.05)
            server.poll()
            os.killpg(server.pid, 0)  # raises once the whole group has ended

        os.killpg(server.pid, signal.SIGKILL)

    server.wait()


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {host} cannot be used ({error.strerror}); choose another one"
            ) from None


def _wait(
    server: subprocess.Popen[bytes], host: str, port: int, log: IO[bytes], patience: float
) -> None:
    """Wait until a server answers; raise TrackingError if it doesn't."""
    deadline = time.monotonic() + patience

    while time.monotonic() < deadline and server.poll() is None:
        if _answers(host, port):
            return

        time.sleep(0.2)

    problem = "does not answer" if server.poll() is None else "exited"
    raise TrackingError(f"MLflow's server {problem}; its last message: {_last_error(log)}")


def _last_error(log: IO[bytes]) -> str:
    """Return the last line of a log that mentions an error, else the last line."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines() or ["none"]

    return next((line for line in reversed(lines) if "Error" in line), lines[-1])


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
