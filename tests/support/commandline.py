"""Runs the command line for tests, in this process or a new one, and reads its results."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from benchmark.cli import leaderboard as cli_leaderboard
from benchmark.cli import main
from benchmark.report import files

ROOT = Path(__file__).parents[2]
PLAIN = [sys.executable, "-W", "error", "-m", "benchmark"]
NEW = [sys.executable, "-W", "error", "-m", "tests.support.quick"]


class Ended(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def kdbench(*arguments: Any) -> Ended:
    """Run a command in this process, on one thread like `launched`: the bits depend on threads."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads, code = torch.get_num_threads(), 0
    torch.set_num_threads(1)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            patch.setattr(sys, "argv", ["kdbench", *map(str, arguments)])
            patch.setenv("PYTHONPATH", str(ROOT))
            try:
                main.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Ended(code, out.getvalue(), err.getvalue())


def launched(
    *arguments: Any, command: Sequence[str] = NEW, **options: Any
) -> subprocess.Popen[str]:
    """Start the command line in a new process."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **options.pop("env", {}),
    }
    pipe = subprocess.PIPE
    words = [*command, *map(str, arguments)]
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, **options)


def ended(process: subprocess.Popen[str], seconds: float = 300) -> Ended:
    """Wait for a process, and kill it if it hangs."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until other processes make a condition true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(word: Any) -> list[int]:
    """Return the ids of processes with a word on their command line, such as a test's folder."""
    identifiers = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(word).encode() in file.read_bytes():
                identifiers.append(int(file.parent.name))
    return identifiers


def in_mlflow(workspace: Path) -> list[dict[str, Any]]:
    """Return status, tags and last metrics of the runs in MLflow's database, without MLflow.

    Reports are left out, also those that a later report has superseded.
    """
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        runs = {
            key: {"status": status}
            for key, status in database.execute("select run_uuid, status from runs")
        }
        for table in ("tags", "latest_metrics"):
            for run, key, value in database.execute(f"select run_uuid, key, value from {table}"):
                runs[run][key] = value
    return [run for run in runs.values() if "kdbench.content" not in run]


def leaderboard(workspace: Path, name: Any, results: Path) -> dict[str, bytes]:
    """Return the files of the leaderboard "tiny", without figures and measured times.

    No report is published in MLflow.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "all_figures", tuple)
        patch.setattr(cli_leaderboard, "publish_leaderboard", lambda *_: None)
        command = ("--workspace", workspace, "leaderboard", name, "--results", results)
        assert kdbench(*command).code == 0
    return {
        path.name: path.read_bytes()
        for path in (results / "tiny").iterdir()
        if path.name not in files.MACHINE_DEPENDENT
    }
