"""Every mistake is one line that names its place and the remedy, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import refused
from tests.support.commandline import PLAIN, Ended, ended, kdbench, launched
from tests.support.networks import TEACHER
from tests.support.studies import Tracked, tiny, write_study

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"selct": "last"}, r":\d+:1: selct: unknown key; did you mean 'select'\?"),
    ({"recipe": {"epoch": 2}}, r":\d+:3: recipe\.epoch: unknown key; did you mean 'epochs'\?"),
    (
        {"recipe": {"epochs": "two"}},
        r":\d+:3: recipe\.epochs: is 'two'; it must be a valid integer.*",
    ),
    ({"seeds": [0, "1"]}, r":\d+:3: seeds\[1\]: is '1'; it must be a valid integer"),
    (
        {"methods": ["kd", "fitnt"]},
        r":\d+:3: methods\[1\]: unknown method 'fitnt'; did you mean 'fitnet'\?",
    ),
    (
        {"methods": [{"method": "kd", "settings": {"temprature": 2}}]},
        r":\d+:3: methods\[0\]: kd: no setting 'temprature'; did you mean 'temperature'\?",
    ),
    ({"dataset": "digit"}, r":\d+:1: dataset: no data set 'digit'; did you mean 'digits'\?"),
    (
        {"pairs": [{"teacher": TEACHER, "student": "test_byobnetz"}]},
        r": pairs\[0\]\.student: timm has no model 'test_byobnetz'; did you mean 'test_byobnet'\?",
    ),
    (
        {"tracking": {"uri": "./mlruns"}},
        r"\./mlruns: not an MLflow store .*; give .*sqlite:///path/to/mlflow\.db.*",
    ),
]


@pytest.mark.parametrize(
    ("change", "pattern"), MISTAKES, ids=[next(iter(change)) for change, _ in MISTAKES]
)
def test_a_mistake_in_a_study_is_one_line_with_file_key_and_remedy_and_leaves_nothing(
    change: dict[str, Any], pattern: str, here: Path
) -> None:
    write_study(here / "my.yaml", tiny(**change))
    refused(f"my\\.yaml{pattern}" if pattern.startswith(":") else pattern, "run", "my.yaml")


def test_graphs_without_a_gpu_are_refused_with_the_remedy(here: Path) -> None:
    write_study(here / "my.yaml", tiny())
    for command in ("run", "tune", "rehearse"):
        refused(
            "--engine: graphs needs a GPU, but the device is cpu; omit it, or use eager",
            *(command, "my.yaml", "--engine", "graphs", "--device", "cpu"),
        )


def test_of_very_many_mistakes_the_first_are_shown_and_the_others_counted(here: Path) -> None:
    schedule = {"name": "step", "milestones": ["a"] * 2000}
    write_study(here / "my.yaml", tiny(recipe={"schedule": schedule}))
    found = kdbench("run", "my.yaml")
    *shown, last = found.err.splitlines()
    assert (found.code, len(shown), last) == (2, 30, "kdbench: and 1970 more mistakes")
    assert all("recipe.schedule.milestones[" in line for line in shown)


def test_a_file_that_is_no_study_is_told_with_its_place(here: Path) -> None:
    (here / "my.yaml").write_text("name: [tiny\nseeds: 0\n")
    refused(r"my\.yaml:2:6: not valid YAML: .*", "run", "my.yaml")
    (here / "my.yaml").write_text("- tiny\n")
    refused(
        r"my\.yaml: is not a mapping; write lines of the form 'key: value'",
        "run",
        "my.yaml",
    )


WRONG_COMMANDS = [
    (("run", "none.yaml"), r"none\.yaml: no such file; choose from my\.yaml"),
    (("run", "mu.yaml"), r"mu\.yaml: no such file; did you mean 'my\.yaml'\?"),
    (("run", "none/my.yaml"), r"none/my\.yaml: no such file; there is no folder none"),
    (("run", "."), r"\.: not a regular file, or larger than \d+ bytes"),
    (
        ("run", "my.yaml", "--device", "cpux"),
        r"--device: 'cpux' cannot be used here \(.*\); omit --device, or use cpu",
    ),
    (("run", "my.yaml", "--device", "cuda:99"), r"--device: 'cuda:99' cannot be used here .*"),
    (
        ("run", "my.yaml", "--devise", "cpu"),
        r"No such option: --devise .*--device.*; `kdbench --help` lists .*",
    ),
    (
        ("run", "my.yaml", "--cohort-size", "0"),
        r"Invalid value for '--cohort-size': .*; `kdbench --help` lists .*",
    ),
    (("run",), r"Missing argument 'STUDY\.yaml'; `kdbench --help` lists commands and options"),
    (
        ("--workspace",),
        r"Option '--workspace' requires an argument; `kdbench --help` lists commands and options",
    ),
    (("rnu", "my.yaml"), r"No such command 'rnu'.*; `kdbench --help` lists commands and options"),
    (("methods", "fitnets"), r"unknown method 'fitnets'; did you mean 'fitnet'\?"),
    (("status", "tiny"), r"tiny: no such study in .*/runs; no study has been run there yet"),
    (("sync", "tiny"), r"tiny: no such study in .*/runs; no study has been run there yet"),
    (
        ("leaderboard", "tiny"),
        r"sqlite:///.*/runs/mlflow\.db: no experiment 'kd/tiny'; it contains no study yet",
    ),
    (("status", "none.yaml"), r"none\.yaml: no such file; choose from my\.yaml"),
    (("sync", "my.yaml"), r"my\.yaml: no such study in .*/runs; no study has been run there yet"),
    (
        ("leaderboard", "my.yaml"),
        r"sqlite:///.*/runs/mlflow\.db: no experiment 'kd/tiny'; it contains no study yet",
    ),
    (("ui",), r".*/runs/mlflow\.db: nothing is recorded there yet"),
    (("show", "abc"), r".*/runs/mlflow\.db: nothing is recorded there yet"),
    (("compare", "abc", "abd"), r".*/runs/mlflow\.db: nothing is recorded there yet"),
    (
        ("compare", "abc"),
        r"Invalid value for RUN: expected two or more runs; `kdbench --help` lists .*",
    ),
    (
        ("--workspace", "my.yaml", "run", "my.yaml"),
        r"my\.yaml: not a folder; choose another --workspace",
    ),
    (("leaderboard", ""), r"STUDY: empty; give a study file or the name of a study"),
    (
        ("gallery", "--studies", "none"),
        r"--studies: none: no such folder; give the folder of study files",
    ),
    (
        ("ui", "--tracking-uri", "sqlite:///my.yaml"),
        r".*/my\.yaml: not an SQLite database; restore it, or move it away and sync .*",
    ),
    (
        ("show", "abc", "--tracking-uri", "sqlite:///."),
        r".*: cannot be read \(Is a directory\); MLflow keeps its .*",
    ),
    (
        ("ui", "--port", "0"),
        r"Invalid value for '--port': .*; `kdbench --help` lists commands and options",
    ),
    (
        ("ui", "--port", "http"),
        r"Invalid value for '--port': .*; `kdbench --help` lists commands and options",
    ),
]


@pytest.mark.parametrize(
    ("command", "pattern"), WRONG_COMMANDS, ids=[" ".join(words) for words, _ in WRONG_COMMANDS]
)
def test_a_mistake_on_the_command_line_is_one_line_with_a_remedy_and_leaves_nothing(
    command: tuple[str, ...], pattern: str, here: Path
) -> None:
    write_study(here / "my.yaml", tiny())
    refused(pattern, *command)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("status", r"tinny: no such study in .*; did you mean 'tiny'\?"),
        ("sync", r"tinny: no such study in .*; did you mean 'tiny'\?"),
        ("leaderboard", r"sqlite:///.*: no experiment 'kd/tinny'; did you mean 'kd/tiny'\?"),
    ],
)
def test_a_study_that_is_not_there_is_told_with_those_that_are(
    command: str, pattern: str, tracked: Tracked
) -> None:
    refused(pattern, "--workspace", tracked.workspace, command, "tinny")


def test_a_mistake_shows_its_trace_only_when_asked(here: Path) -> None:
    plain, asked = (
        ended(launched(*words, command=PLAIN, cwd=here))
        for words in (["sync", "x"], ["--debug", "sync", "x"])
    )
    assert (plain.code, plain.out) == (2, "")
    assert (
        plain.err == f"kdbench: x: no such study in {here}/runs; no study has been run there yet\n"
    )
    assert asked.err.startswith("Traceback")
    assert f"InputError: x: no such study in {here}/runs" in asked.err
    assert not list(here.iterdir())


def test_an_unexpected_error_is_one_line_that_names_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Any) -> None:
        raise ValueError("out of luck\nin two lines")

    monkeypatch.setattr("benchmark.cli.method_cards.card", broken)
    line = "kdbench: ValueError: out of luck; `kdbench --debug ...` shows where\n"
    assert kdbench("methods", "kd") == Ended(1, "", line)
    with pytest.raises(ValueError, match="out of luck"):
        kdbench("--debug", "methods", "kd")


@pytest.mark.parametrize("word", ["0a0a0a0a0a0a", "nothing", "%", "a' or 1=1"])
def test_an_unknown_run_is_told_in_one_line(word: str, tracked: Tracked) -> None:
    hint = "`kdbench status STUDY` lists the cells of a study"
    pattern = rf"{re.escape(word)}: no run in sqlite:///.*; {hint}"
    refused(pattern, "--workspace", tracked.workspace, "show", word)
    refused(pattern, "--workspace", tracked.workspace, "compare", word, word)


def test_a_store_of_another_version_of_mlflow_is_told_in_one_line_with_a_remedy(
    tracked: Tracked, tmp_path: Path
) -> None:
    shutil.copy(tracked.workspace / "mlflow.db", tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    pattern = r"sqlite:.*: created by another version of MLflow .* `mlflow db upgrade sqlite:////.*/mlflow\.db`"
    for command in (("show", "abc"), ("leaderboard", "tiny"), ("ui",)):
        refused(pattern, "--workspace", tmp_path, *command)


@pytest.mark.parametrize("command", ["status", "sync", "export", "leaderboard"])
@pytest.mark.parametrize("name", ["../other/tiny", "/etc", "..", "x" * 300, "a\nkdbench: done"])
def test_the_name_of_a_study_cannot_lead_out_of_the_workspace(command: str, name: str) -> None:
    target = ["x.tar"] if command == "export" else []
    shown = re.escape(name.replace("\n", "\\n"))
    refused(rf"{shown}: not the name of a study; use at most 80 .*", command, name, *target)


def test_a_password_is_shown_in_no_trace(here: Path) -> None:
    words = ["--debug", "show", "x", "--tracking-uri", "http://me:S3cretPW@127.0.0.1:9/base"]
    asked = ended(launched(*words, command=PLAIN, cwd=here))
    assert asked.code == 1
    assert asked.err.startswith("Traceback")
    assert "http://***@127.0.0.1:9/base" in asked.err
    assert "S3cretPW" not in asked.err
