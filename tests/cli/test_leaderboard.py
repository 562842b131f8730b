"""A leaderboard's files hold what MLflow holds, and need nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sqlite3
import statistics
from pathlib import Path

import pytest

from tests.cli.helpers import refused
from tests.support.commandline import in_mlflow, kdbench
from tests.support.studies import ROWS, SEEDS, Tracked

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


def by_row(text: str) -> dict[str, dict[str, str]]:
    return {line["method"]: line for line in csv.DictReader(io.StringIO(text))}


def test_the_files_of_a_leaderboard_hold_the_numbers_that_are_in_mlflow(tracked: Tracked) -> None:
    runs = in_mlflow(tracked.workspace)
    files = {path.name: path.read_bytes() for path in (tracked.results / "tiny").iterdir()}
    lines, costs = (by_row(files[f"{name}.csv"].decode()) for name in ("leaderboard", "costs"))
    figures = {
        f"{name}.{kind}" for name in ("leaderboard", "curves", "pareto") for kind in ("svg", "png")
    }
    texts = {*(f"leaderboard.{kind}" for kind in ("csv", "html", "md", "tex")), "summary.json"}
    assert {*texts, *figures, "costs.csv"} <= set(files)
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
    command = ("--workspace", workspace, "leaderboard", "tiny", "--results", tmp_path / "results")
    assert kdbench(*command).code == 0
    made, again = ({path.name: path.read_bytes() for path in (folder / "tiny").iterdir()}
                   for folder in (tracked.results, tmp_path / "results"))  # fmt: skip
    assert again == made


def test_runs_of_another_device_are_compared_only_when_asked_for_and_then_marked(
    tracked: Tracked, tmp_path: Path, no_figures: None
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
    marked = f"1 of {len(SEEDS)} runs was trained in another environment (device cuda)"
    assert re.search(rf"^\* kd: .*{re.escape(marked)}", page, re.MULTILINE)


def test_a_table_for_a_paper_is_written_if_asked_for(
    tracked: Tracked, tmp_path: Path, no_figures: None
) -> None:
    command = ("--workspace", tracked.workspace, "leaderboard", "tiny", "--results", tmp_path)
    plain = kdbench(*command)
    assert plain.code == 0
    assert not (tmp_path / "tiny" / "paper.tex").exists()

    found = kdbench(*command, "--latex-columns", "acc1, vs_student", "--decimals", "0")
    assert found.code == 0
    assert f"wrote {tmp_path}/tiny/paper.tex\n" in found.err
    text = (tmp_path / "tiny" / "paper.tex").read_text()
    board = by_row((tmp_path / "tiny" / "leaderboard.csv").read_text())
    mean, spread = (float(board["kd"][name]) for name in ("acc1", "sd"))
    (line,) = (line for line in text.splitlines() if line.startswith("kd & "))
    assert rf"{mean:.0f} $\pm$ {spread:.0f}" in line
    assert len(line.split(" & ")) == 3

    assert kdbench(*command, "--decimals", "3").code == 0
    text = (tmp_path / "tiny" / "paper.tex").read_text()
    assert rf"{mean:.3f} $\pm$ {spread:.3f}" in text


def test_columns_without_room_on_a_page_are_named_on_the_screen(
    tracked: Tracked, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.report.latex.PAGE_WIDTH", 250.0)
    command = ("--workspace", tracked.workspace, "leaderboard", "tiny", "--results", tmp_path)
    found = kdbench(*command)
    omitted = [line for line in (tmp_path / "tiny" / "leaderboard.tex").read_text().splitlines()
               if line.startswith("% columns omitted")]  # fmt: skip
    assert len(omitted) == 1
    titles = omitted[0].partition(": ")[2]
    assert (
        f"leaderboard.tex has no room for {titles} (pair, digits); --latex-columns chooses the "
        "columns of paper.tex\n"
    ) in found.err


def test_an_unknown_column_of_a_table_for_a_paper_is_refused(tracked: Tracked) -> None:
    refused(
        r"--latex-columns: no column 'acc'; did you mean 'acc[15]'\?",
        *("--workspace", tracked.workspace, "leaderboard", "tiny", "--latex-columns", "acc"),
    )
