"""A leaderboard's files hold what MLflow holds, and need nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
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
    assert f"* kd: 1 of {len(SEEDS)} runs was trained in another environment (device cuda)" in page
