"""Runs shown and compared on the screen."""

from __future__ import annotations

import re

import pytest

from tests.cli.helpers import refused
from tests.support.commandline import in_mlflow, kdbench
from tests.support.studies import Tracked, plan

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


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
