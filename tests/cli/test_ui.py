"""MLflow's page, as `kdbench ui` serves it."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import sqlite3
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpers import refused
from tests.support.commandline import PLAIN, alive, ended, kdbench, launched
from tests.support.studies import Tracked

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


def test_a_server_that_is_not_there_is_told_before_it_is_said_to_run() -> None:
    found = kdbench("ui", "--tracking-uri", "http://127.0.0.1:9")
    assert (found.code, found.out) == (1, "")
    assert re.fullmatch(
        r"kdbench: http://127\.0\.0\.1:9: the server cannot be reached: .*; start it, or .*\n",
        found.err,
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def page(workspace: Path, port: int) -> Iterator[str]:
    """The first five lines of `kdbench ui` while it serves; it is ended as by Ctrl+C."""
    process = launched("--workspace", workspace, "ui", "--port", port, command=PLAIN)
    assert process.stdout is not None
    try:
        yield "".join(process.stdout.readline() for _ in range(5))
    finally:
        process.send_signal(signal.SIGINT)
        found = ended(process)
    assert (found.code, found.err) == (130, "")


def test_the_page_is_told_by_an_address_that_shows_runs_and_leaves_no_process(
    tracked: Tracked, port: int
) -> None:
    with page(tracked.workspace, port) as lines:
        start = rf"http://127\.0\.0\.1:{port}/#/experiments/\d+/runs\?workflowType=machine_learning"
        expected = (
            rf"kd/tiny\n  leaderboard ({start}&viewStateShareKey=leaderboard)\n"
            rf"  runs +{start}&viewStateShareKey=runs\n"
            rf"  curves +{start}&compareRunsMode=CHART&viewStateShareKey=curves\n"
            rf"  report +http://127\.0\.0\.1:{port}/#/experiments/\d+/runs/[0-9a-f]+"
            r"/artifacts/leaderboard\.html\?workflowType=machine_learning\n"
        )
        told = re.fullmatch(expected, lines)
        assert told
        address = told[1]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"<title>MLflow</title>" in answer.read()
        taken = rf"port {port} on 127\.0\.0\.1 cannot be used .*; choose another one"
        refused(taken, "--workspace", tracked.workspace, "ui", "--port", port)
    assert alive(tracked.workspace) == []


@pytest.mark.slow
def test_a_moved_workspace_is_served_with_the_files_of_its_runs(
    tracked: Tracked, tmp_path: Path, port: int
) -> None:
    copied, moved = tmp_path / "copied", tmp_path / "moved"
    shutil.copytree(tracked.workspace, copied)
    copied.rename(moved)
    (cell, *_) = sorted((moved / "tiny" / "cells").iterdir())
    with contextlib.closing(sqlite3.connect(moved / "mlflow.db")) as database:
        query = "select run_uuid from tags where key = 'cell' and value = ?"
        (run,) = database.execute(query, (cell.name,)).fetchone()

    with page(moved, port):
        address = f"http://127.0.0.1:{port}/get-artifact?path=config.json&run_uuid={run}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.read() == (cell / "config.json").read_bytes()

    with contextlib.closing(sqlite3.connect(moved / "mlflow.db")) as database:
        (stored,) = database.execute(
            "select artifact_uri from runs where run_uuid = ?", (run,)
        ).fetchone()
    assert stored.startswith(f"{(moved / 'artifacts').as_uri()}/")
