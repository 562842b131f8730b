"""The results in `results/`, read back from their files."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from benchmark.leaderboard import summary, table

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("results/*/leaderboard.csv"))


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, summary.Summary]:
    """Return results, costs and summary of a folder."""
    board = read_table(folder / "leaderboard.csv", table.COLUMNS)
    costs = read_table(folder / "costs.csv", table.COST_COLUMNS)
    return board, costs, summary.read_summary(folder / summary.FILE)


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table with its exact numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [
            {name: _value(name, text) for name, text in line.items()}
            for line in csv.DictReader(file)
        ]
    return table.to_frame(lines, columns)


def _value(column: str, text: str) -> str | None:
    return text if text or column in table.TEXT_COLUMNS else None
