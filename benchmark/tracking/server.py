"""MLflow's own server and pages on a local store: start, addresses, end."""

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


def without_password(base_url: str) -> str:
    """The address of a server as it may be shown."""
    url = urlsplit(base_url)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path.rstrip('/')}"


def addresses(base_url: str, experiment_id: str) -> dict[str, str]:
    """Where a browser finds MLflow's `start` page and the `runs` of an experiment, without a password.

    MLflow opens in its mode for language models, without runs, unless the part after the # says otherwise.
    """
    base = f"{without_password(base_url)}/#/experiments"
    mode = "?workflowType=machine_learning"
    return {"start": base + mode, "runs": f"{base}/{experiment_id}/runs{mode}"}


def serve(
    store: Store, host: str = "127.0.0.1", port: int = 5000, patience: float = 120.0
) -> subprocess.Popen[bytes]:
    """Starts MLflow's own server, with its pages, for a local store, and waits until it answers.

    patience: seconds to wait. The server and its children are a process group of their own; end them with `end`.

    Raises:
        InputError: the store is a server itself, there is no store yet, or the port is in use.
        TrackingError: the server died or does not answer; its last error is told.
    """
    if store.database is None or store.artifacts is None:
        raise InputError(f"{shown(store.uri)}: is a server already; open it in a browser")
    if not store.database.exists():
        raise InputError(f"{store.database}: nothing is recorded there yet")
    Client(store)  # tells in words what is wrong with a store
    _check_port(host, port)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri,
        "--artifacts-destination", store.artifacts, "--host", host, "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _await(server, host, port, log, patience)
        except BaseException:
            end(server)
            raise
    return server


def end(server: subprocess.Popen[bytes]) -> None:
    """Ends a server of `serve`, with its children."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.05)
            server.poll()
            os.killpg(server.pid, 0)
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


def _await(
    server: subprocess.Popen[bytes], host: str, port: int, log: IO[bytes], patience: float
) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and server.poll() is None:
        if _answers(host, port):
            return
        time.sleep(0.2)
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines() or ["nothing"]
    last = next((line for line in reversed(said) if "Error" in line), said[-1])
    raise TrackingError(
        f"MLflow's server {'does not answer' if server.poll() is None else 'died'}; it said: {last}"
    )


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
