"""The command line as tests use it, in this process or a new one, and what it leaves behind."""

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

from benchmark.cli import main
from benchmark.report.files import MACHINE_DEPENDENT

ROOT = Path(__file__).parents[2]
NEW = [sys.executable, "-W", "error", "-m", "benchmark"]


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def kdbench(*arguments: Any) -> Ended:
    """Run a command in this process, on one thread as `launched`: threads decide the bits."""
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
    """The command line as a process of its own."""
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **options.pop("env", {}),
    }
    pipe = subprocess.PIPE
    words = [*command, *map(str, arguments)]
    return subprocess.Popen(words, env=surroundings, stdout=pipe, stderr=pipe, text=True, **options)


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for a process, and does not leave one behind that hangs."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(word: Any) -> list[int]:
    """The processes with a word on their command line, such as the folder of a test."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(word).encode() in place.read_bytes():
                found.append(int(place.parent.name))
    return found


def in_mlflow(workspace: Path) -> list[dict[str, Any]]:
    """Status, tags and last metrics of the runs in MLflow's database, read without MLflow."""
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        runs = {
            key: {"status": status}
            for key, status in database.execute("select run_uuid, status from runs")
        }
        for table in ("tags", "latest_metrics"):
            for run, key, value in database.execute(f"select run_uuid, key, value from {table}"):
                runs[run][key] = value
    return [run for run in runs.values() if run["kdbench.kind"] != "report"]


def leaderboard(workspace: Path, name: Any, results: Path) -> dict[str, bytes]:
    """The files that `kdbench leaderboard` writes of the study "tiny", without measured times."""
    assert kdbench("--workspace", workspace, "leaderboard", name, "--results", results).code == 0
    return {
        path.name: path.read_bytes()
        for path in (results / "tiny").iterdir()
        if path.name not in MACHINE_DEPENDENT
    }
