"""The help, and output on a terminal that lacks letters."""

from __future__ import annotations

import sys

import pytest

import benchmark
from tests.support.commandline import PLAIN, Ended, ended, kdbench, launched
from tests.support.studies import Tracked, plan

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


def test_help_answers_without_the_heavy_packages() -> None:
    heavy = {"torch", "timm", "mlflow", "optuna", "pandas", "sklearn", "matplotlib"}
    at_exit = f"atexit.register(lambda: print(sorted({heavy} & set(sys.modules))))"
    code = f"import atexit, sys; {at_exit}; from benchmark.cli.main import main; main()"
    found = ended(launched("--help", command=[sys.executable, "-W", "error", "-c", code]))
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[-1] == "[]"
    for command in ("run", "leaderboard", "gallery", "methods", "sync", "status", "ui"):
        assert f" {command} " in found.out


def test_letters_that_the_output_does_not_know_are_question_marks(tracked: Tracked) -> None:
    cell = plan(tracked.workspace)["cells"][0]["id"]
    words = ("--workspace", tracked.workspace, "show", cell)
    found = ended(launched(*words, command=PLAIN, env={"PYTHONIOENCODING": "ascii"}))
    shown = kdbench(*words).out
    assert (found.code, found.err) == (0, "")
    assert not shown.isascii()
    assert found.out == shown.encode("ascii", "replace").decode()


def test_the_version_is_printed_without_a_command() -> None:
    assert kdbench("--version") == Ended(0, f"kdbench {benchmark.__version__}\n", "")
