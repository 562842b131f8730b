"""A dry run of a large study has counts instead of a line per cell."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli import run_plan
from benchmark.execution.batch_clock import BatchClock
from tests.execution.helpers import pairs, prepared
from tests.support.studies import folders, run, tiny

DEEP = {"name": "deep", "method": "fitnet", "settings": {"stage": 7}}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists stop early, and no batch is timed."""
    monkeypatch.setattr(run_plan, "MOST_LISTED", 3)
    monkeypatch.setattr(BatchClock, "seconds", lambda *_, **__: 1e4)


def printed(content: dict[str, object], workspace: Path, size: int | None = None) -> list[str]:
    console = Console(file=StringIO(), width=500)
    console.print(run_plan.plan(prepared(content, workspace), workspace, size))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_long_plan_counts_the_cells_of_each_pair_by_state(workspace: Path) -> None:
    content = tiny(["student", "kd", DEEP], seeds=[0], pairs=pairs(one={}, two={}))
    run(workspace, content)
    (workspace / "tiny" / "cells").rename(workspace / "aside")
    kept = next(iter(folders(workspace).values()))
    kept.parent.mkdir()
    (workspace / "aside" / kept.name).rename(kept)

    content["seeds"] = [0, 1]
    head, *rows, reason, total, teacher, _cost = printed(content, workspace)
    assert head.split() == ["pair", "cells", "done", "to", "train", "cohorts", "not", "applicable"]
    counts = [[int(word) for word in row.split()[1:]] for row in rows]
    assert counts in ([[6, 1, 3, 2, 2], [6, 0, 4, 2, 2]], [[6, 0, 4, 2, 2], [6, 1, 3, 2, 2]])
    assert reason == (
        "not applicable: deep (2 pairs): stage 7 is out of range; number of stages: 3"
    )
    assert total == "7 cells to train in 2 cohorts, 1 done"
    assert "in the store" in teacher


def test_a_short_plan_lists_its_cells(workspace: Path) -> None:
    lines = printed(tiny(["student", "kd", DEEP]), workspace)
    assert [line.split()[:3] for line in lines[:4]] == [
        ["pair", "method", "seed"],
        ["pair", "student", "0"],
        ["pair", "kd", "0"],
        ["pair", "deep", "0"],
    ]
