"""What a person sees of every command: tables, addresses, and one line for each mistake."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import methods
from tests.support.commandline import Ended, alive, ended, in_mlflow, kdbench, launched, leaderboard
from tests.support.studies import ROWS, SEEDS, TEACHER, Tracked, plan, tiny, write_study

pytestmark = pytest.mark.subprocess

COUNT = len(ROWS) * len(SEEDS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to call commands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


BARE = "import sys; from benchmark.cli.main import main; main()"
BRIEF = "from tests.support.brief import time_briefly; time_briefly()"


def refused(pattern: str, *arguments: Any) -> None:
    """Calls a command that must end with code 2 and one line, and leave nothing behind."""
    before = sorted(Path.cwd().rglob("*"))
    found = kdbench(*arguments)
    assert re.fullmatch(f"kdbench: {pattern}\n", found.err)
    assert (found.code, found.out) == (2, "")
    assert sorted(Path.cwd().rglob("*")) == before


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
        ended(launched(*words, cwd=here)) for words in (["sync", "x"], ["--debug", "sync", "x"])
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


def test_help_answers_without_the_heavy_packages() -> None:
    heavy = {"torch", "timm", "mlflow", "optuna", "pandas", "sklearn", "matplotlib"}
    at_exit = f"atexit.register(lambda: print(sorted({heavy} & set(sys.modules))))"
    code = f"import atexit, sys; {at_exit}; {BARE}"
    found = ended(launched("--help", command=[sys.executable, "-W", "error", "-c", code]))
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[-1] == "[]"
    for command in ("run", "leaderboard", "gallery", "methods", "sync", "status", "ui"):
        assert f" {command} " in found.out


@pytest.fixture(scope="module")
def untracked(tracked: Tracked, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A workspace trained by a process that cannot import MLflow, and what it printed."""
    workspace = tmp_path_factory.mktemp("untracked") / "runs"
    blocked = "sys.modules['mlflow'] = sys.modules['optuna'] = None"
    code = f"import sys; {blocked}; {BRIEF}; {BARE}"
    command = [sys.executable, "-W", "error", "-c", code]
    words = ("--workspace", workspace, "run", tracked.study, "--no-track", "--device", "cpu")
    return workspace, ended(launched(*words, command=command))


def test_without_tracking_mlflow_need_not_be_there(
    untracked: tuple[Path, Ended], tracked: Tracked
) -> None:
    workspace, found = untracked
    assert (found.code, found.out) == (0, "")
    assert f"{COUNT} cells trained, 0 already done, 0 failed\n" in found.err
    assert found.err.endswith(
        f"recorded in {workspace}/tiny; run `kdbench sync {tracked.study}` to write it to MLflow\n"
    )
    assert not (workspace / "mlflow.db").exists()


def test_a_dry_run_shows_cells_cohorts_and_cost_and_writes_nothing(
    tracked: Tracked, here: Path
) -> None:
    found = kdbench("run", tracked.study, "--dry-run")
    cells = [line.split() for line in found.out.splitlines()[1 : COUNT + 1]]
    expected = [["pair", row, str(seed)] for seed in SEEDS for row in ROWS]
    assert [cell[:3] for cell in cells] == expected
    assert [cell[-1] for cell in cells] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert (
        f"\n{COUNT} cells to train in 3 cohorts, 0 done\nteacher {TEACHER}: will be trained\ncost: "
        in found.out
    )
    work = sum(run["cost/compute_tmac"] for run in in_mlflow(tracked.workspace))
    assert re.search(
        rf"; {work:.3g} without sharing the teacher's forward passes; about (\d+ min )?\d+ s on ",
        found.out,
    )
    assert (found.code, found.err) == (0, "")
    smaller = kdbench("run", tracked.study, "--dry-run", "--cohort-size", "2")
    assert f"\n{COUNT} cells to train in 6 cohorts, 0 done\n" in smaller.out
    assert not list(here.iterdir())


def test_a_dry_run_says_if_no_row_trains_the_student_alone(tracked: Tracked, here: Path) -> None:
    study = write_study(here / "kd.yaml", tiny(["kd"]))
    note = "\nno row student: the leaderboard will have no gains over it\n"
    assert note in kdbench("run", study, "--dry-run").out
    assert note not in kdbench("run", tracked.study, "--dry-run").out


def test_a_dry_run_of_a_finished_study_names_its_cells_and_leaves_nothing_to_do(
    tracked: Tracked,
) -> None:
    found = kdbench("--workspace", tracked.workspace, "run", tracked.study, "--dry-run")
    cells = [line.split() for line in found.out.splitlines()[1 : COUNT + 1]]
    assert [cell[3:] for cell in cells] == [
        [cell["id"], "done"] for cell in plan(tracked.workspace)["cells"]
    ]
    assert (
        f"\n0 cells to train in 0 cohorts, {COUNT} done\nteacher {TEACHER}: in the store, "
        in found.out
    )


def test_a_tracked_run_prints_its_leaderboard_and_a_second_one_trains_nothing_and_prints_the_same(
    tracked: Tracked,
) -> None:
    assert tracked.ended.code == 0
    assert f"{COUNT} cells trained, 0 already done, 0 failed\n" in tracked.ended.err
    assert "warning" not in tracked.ended.err
    for row in ("teacher", *ROWS):
        assert re.search(rf"^{row} +[13] +\d", tracked.ended.out, re.MULTILINE)
    again = kdbench("--workspace", tracked.workspace, "run", tracked.study, "--device", "cpu")
    assert (again.code, again.out) == (0, tracked.ended.out)
    assert again.err.startswith(f"0 cells trained, {COUNT} already done, 0 failed\n")
    assert len(in_mlflow(tracked.workspace)) == COUNT + 1


def by_row(text: str) -> dict[str, dict[str, str]]:
    return {line["method"]: line for line in csv.DictReader(io.StringIO(text))}


def test_the_files_of_a_leaderboard_hold_the_numbers_that_are_in_mlflow(tracked: Tracked) -> None:
    runs, files = in_mlflow(tracked.workspace), tracked.files
    lines = by_row(files["leaderboard.csv"].decode())
    costs = by_row((tracked.results / "tiny" / "costs.csv").read_text())
    tables = {f"leaderboard.{kind}" for kind in ("csv", "md", "svg", "png", "tex")}
    assert set(files) == {*tables, "summary.json", "curves.svg", "curves.png"}
    assert set(lines) == set(costs) == {"teacher", *ROWS}
    for row, line in lines.items():
        of_row = [run for run in runs if run["method"] == row]
        accuracies = [run["test/acc1"] for run in of_row]
        mean = statistics.fmean(accuracies)
        assert int(line["n"]) == len(of_row) == (1 if row == "teacher" else len(SEEDS))
        assert float(line["acc1"]) == pytest.approx(mean, rel=1e-12)
        assert float(costs[row]["latency_ms"]) == pytest.approx(
            statistics.median(r["cost/latency_ms"] for r in of_row)
        )
        shown = (
            f"{mean:.2f}"
            if row == "teacher"
            else f"{mean:.2f} ± {statistics.stdev(accuracies):.2f}"
        )
        assert f"| {row} | {len(of_row)} | {shown} |" in files["leaderboard.md"].decode().replace(
            "**", ""
        )
        assert row == "teacher" or f"<!-- {mean:.2f} -->" in files["leaderboard.svg"].decode()
    assert files["leaderboard.png"].startswith(b"\x89PNG")


def test_a_leaderboard_needs_nothing_but_mlflow(tracked: Tracked, tmp_path: Path) -> None:
    workspace = tmp_path / "runs"
    workspace.mkdir()
    (workspace / "mlflow.db").write_bytes((tracked.workspace / "mlflow.db").read_bytes())
    assert leaderboard(workspace, "tiny", tmp_path / "results") == tracked.files
    # The same store holds the same times, too.
    made, again = ({path.name: path.read_bytes() for path in (folder / "tiny").iterdir()}
                   for folder in (tracked.results, tmp_path / "results"))  # fmt: skip
    assert again == made


def test_runs_of_another_device_are_compared_only_when_asked_for_and_then_marked(
    tracked: Tracked, tmp_path: Path
) -> None:
    workspace = tmp_path / "runs"
    workspace.mkdir()
    (workspace / "mlflow.db").write_bytes((tracked.workspace / "mlflow.db").read_bytes())
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as database, database:
        one = "select max(run_uuid) from tags where key = 'method' and value = 'kd'"
        value = "replace(value, 'device cpu', 'device cuda')"
        change = f"update tags set value = {value} where key = 'fingerprint'"
        assert database.execute(f"{change} and run_uuid = ({one})").rowcount == 1
    command = ("--workspace", workspace, "leaderboard", "tiny", "--results", tmp_path / "results")
    refused(
        r"experiment kd/tiny: the runs of .* different environments .*--mix-environments .*",
        *command,
    )
    found = kdbench(*command, "--mix-environments")
    assert found.code == 0
    page = (tmp_path / "results" / "tiny" / "leaderboard.md").read_text()
    assert f"* kd: 1 of {len(SEEDS)} runs were trained in another environment (device cuda)" in page


def test_a_study_trained_without_mlflow_gives_the_same_files_once_it_is_synced(
    untracked: tuple[Path, Ended], tracked: Tracked, tmp_path: Path
) -> None:
    workspace, _ = untracked
    where = f"in sqlite:///{workspace}/mlflow.db\n"
    first, second = (
        kdbench("--workspace", workspace, "sync", name) for name in (tracked.study, "tiny")
    )
    assert first == Ended(0, f"{COUNT + 1} runs added, 0 updated, 0 unchanged {where}", "")
    assert second == Ended(0, f"0 runs added, 0 updated, {COUNT + 1} unchanged {where}", "")
    assert leaderboard(workspace, "tiny", tmp_path) == tracked.files


def test_status_shows_every_cell_of_a_finished_study_as_done(tracked: Tracked) -> None:
    found = kdbench("--workspace", tracked.workspace, "status", tracked.study)
    head, _, teacher, *cells = found.out.splitlines()
    assert head == f"tiny: {COUNT} of {COUNT} cells done, not running"
    assert teacher.split()[:2] + teacher.split()[4:6] == ["pair", "teacher", "done", "1/1"]
    test = {
        (run["method"], run["seed"]): f"{run['test/acc1']:.2f}"
        for run in in_mlflow(tracked.workspace)
    }
    seen = [line.split() for line in cells]
    planned = [
        (cell["row"], str(cell["seed"]), cell["id"]) for cell in plan(tracked.workspace)["cells"]
    ]
    assert [tuple(cell[1:4]) for cell in seen] == planned
    assert all(cell[4:6] == ["done", "2/2"] and cell[7] == test[cell[1], cell[2]] for cell in seen)


def test_a_failed_cell_gives_code_1_and_stays_in_table_and_status_with_its_reason(
    workspace: Path,
) -> None:
    rows = ["student", {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}]
    file = write_study(workspace / "study.yaml", tiny(rows))
    found = kdbench("--workspace", workspace, "run", file, "--device", "cpu")
    reason = r"non-finite loss at epoch 1, step \d \(term ce\)"
    assert found.code == 1
    assert "1 cell trained, 0 already done, 1 failed\n" in found.err
    assert re.search(rf"^failed: pair / wild / seed 0: {reason}$", found.err, re.MULTILINE)
    assert re.search(r"^wild +0/1 +- ", found.out, re.MULTILINE)
    assert re.search(rf"^\* wild: .*{reason}", found.out, re.MULTILINE)
    lines = kdbench("--workspace", workspace, "status", "tiny").out.splitlines()
    assert lines[0] == "tiny: 1 of 2 cells done, not running"
    assert re.fullmatch(rf"pair +wild +0 +[0-9a-f]{{12}} +failed: {reason} +0/2 .*", lines[-1])


def test_status_before_between_and_during_the_training_of_cells(workspace: Path) -> None:
    file = write_study(workspace / "study.yaml", tiny(["student", "kd"]))
    words = ("--workspace", workspace, "run", file, "--no-track", "--device", "cpu")
    # Written are the teacher's checkpoint, those of both first epochs, and the student's second.
    killed = ended(launched(*words, env={"KDBENCH_FAILPOINT": "checkpoint.written:4"}))
    assert killed.code == -signal.SIGKILL

    def states() -> list[str]:
        head, _, *lines = kdbench("--workspace", workspace, "status", "tiny").out.splitlines()
        return [head, *(" ".join(line.split()[1:2] + line.split()[4:6]) for line in lines)]

    assert states() == [
        "tiny: 0 of 2 cells done, not running",
        "teacher done 1/1",
        "student stopped 1/2",
        "kd stopped 1/2",
    ]
    with FileLock(workspace / "tiny" / "running.lock"):
        assert states()[0] == "tiny: 0 of 2 cells done, running"
        assert states()[2:] == ["student training 1/2", "kd training 1/2"]
    for folder in (workspace / "tiny" / "cells").iterdir():
        (folder / "journal.jsonl").unlink()
    assert states()[2:] == ["student waiting 0/2", "kd waiting 0/2"]


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


def test_a_server_that_is_not_there_is_told_before_it_is_said_to_run() -> None:
    found = kdbench("ui", "--tracking-uri", "http://127.0.0.1:9")
    assert (found.code, found.out) == (1, "")
    assert re.fullmatch(
        r"kdbench: http://127\.0\.0\.1:9: the server cannot be reached: .*; start it, or .*\n",
        found.err,
    )


def test_letters_that_the_output_does_not_know_are_question_marks(tracked: Tracked) -> None:
    words = ("--workspace", tracked.workspace, "leaderboard", "tiny", "--results", tracked.results)
    process = launched(
        *words, command=[sys.executable, "-m", "benchmark"], env={"PYTHONIOENCODING": "ascii"}
    )
    found = ended(process)
    assert (found.code, "Traceback" in found.err) == (0, False)
    assert " ? " in found.out


def test_a_run_is_shown_by_its_cell_with_settings_results_curve_and_address(
    tracked: Tracked,
) -> None:
    cell = next(cell for cell in plan(tracked.workspace)["cells"] if cell["row"] == "kd")
    found, shorter = (
        kdbench("--workspace", tracked.workspace, "show", cell["id"][:size]) for size in (12, 9)
    )
    assert (found.code, found.err) == (0, "")
    assert shorter == found
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert lines[0] == f"kd pair s{cell['seed']} in kd/tiny: finished"
    (run,) = (run for run in in_mlflow(tracked.workspace) if run.get("cell") == cell["id"])
    expected = {
        "pair pair",
        "method kd",
        f"cell {cell['id']}",
        "setting value",
        "kd.temperature 4.0",
        "recipe.epochs 2",
        "metric value",
        f"test/acc1 {run['test/acc1']:.5g}",
    }
    assert expected <= set(lines)
    assert re.search(
        r"^val/acc1  [▁-█]{2}  [\d.]+ to [\d.]+ over 2 epochs$", found.out, re.MULTILINE
    )
    identity = re.search(r"^run +([0-9a-f]{32}) *$", found.out, re.MULTILINE)
    assert identity
    assert re.fullmatch(
        rf"while `kdbench ui` runs: http://127\.0\.0\.1:5000/#/experiments/\d+/runs/{identity[1]}\?workflow.*",
        lines[-1],
    )
    assert kdbench("--workspace", tracked.workspace, "show", identity[1][:14]) == found


def test_runs_are_compared_by_what_differs(tracked: Tracked) -> None:
    first, second = (cell["id"] for cell in plan(tracked.workspace)["cells"][:2])
    found = kdbench("--workspace", tracked.workspace, "compare", first, second)
    assert (found.code, found.err) == (0, "")
    differences, *runs = found.out.split("\n\n")
    head, *lines = ([*filter(None, re.split(r"  +", line))] for line in differences.splitlines())
    assert head == ["student pair s0", "kd pair s0"]
    assert ["method", "student", "kd"] in lines
    assert ["kd.temperature", "-", "4.0"] in lines
    assert "pair" not in {line[0] for line in lines}
    assert not any(line[0].startswith("recipe.") for line in lines)
    for name, run in zip(head, runs, strict=True):
        told, curve, address = run.strip().splitlines()
        assert told.strip() == name
        assert re.fullmatch(r"val/acc1  [▁-█]{2}  [\d.]+ to [\d.]+ over 2 epochs *", curve)
        assert "/runs/" in address
    once = "RUN RUN...: a run is given twice; give different runs"
    refused(re.escape(once), "--workspace", tracked.workspace, "compare", first, first)


def test_the_list_of_methods_has_a_line_for_each() -> None:
    found = kdbench("methods")
    assert (found.code, found.err) == (0, "")
    head, *lines = found.out.splitlines()
    assert head.split() == ["method", "title", "published", "needs", "formula"]
    assert [line.split()[0] for line in lines] == methods.names()
    for line in lines:
        kind = methods.get(line.split()[0])
        assert line.rstrip().endswith(kind.formula)
        assert kind.paper is None or f"{kind.paper.venue} {kind.paper.year}" in line


@pytest.mark.parametrize("name", methods.names())
def test_a_methods_card_shows_paper_formula_settings_and_search_space(name: str) -> None:
    found = kdbench("methods", name)
    kind = methods.get(name)
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert (found.code, found.err, lines[0]) == (0, "", name)
    assert f"formula {' '.join(kind.formula.split())}" in lines
    assert kind.paper is None or f"paper {kind.paper}" in lines
    for setting in methods.schema(name).values():
        (line,) = (line for line in lines if line.startswith(f"{setting.name} {setting.default} "))
        assert line.endswith(str(setting.search or "not searched"))
    assert (methods.module(name).__doc__ or "").splitlines()[0] in found.out


def test_the_card_of_a_method_in_a_wrapper_has_the_wrappers_published_settings() -> None:
    found = kdbench("methods", "ls(dkd)")
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert (found.code, found.err, lines[0]) == (0, "", "ls(dkd)")
    assert any(line.startswith("beta 72.0 ") for line in lines)
    wrong = kdbench("methods", "ls(dkdd)")
    assert (wrong.code, "did you mean 'dkd'?" in wrong.err) == (2, True)


def test_the_card_of_a_composition_shows_each_of_its_methods() -> None:
    shown = kdbench("methods", "ls(dkd)+at")
    lines = shown.out.splitlines()
    assert (shown.code, shown.err, lines[0]) == (0, "", "ls(dkd)")
    assert kdbench("methods", "at").out.strip() in shown.out


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def page(workspace: Path, port: int) -> Iterator[str]:
    """The first four lines of `kdbench ui` while it serves; it is ended as by Ctrl+C."""
    process = launched(
        "--workspace", workspace, "ui", "--port", port, command=[sys.executable, "-m", "benchmark"]
    )
    assert process.stdout is not None
    try:
        yield "".join(process.stdout.readline() for _ in range(4))
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
        )
        told = re.fullmatch(expected, lines)
        assert told
        address = told[1]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"<title>MLflow</title>" in answer.read()
        taken = rf"port {port} on 127\.0\.0\.1 cannot be used .*; choose another one"
        refused(taken, "--workspace", tracked.workspace, "ui", "--port", port)
    assert alive(tracked.workspace) == []
