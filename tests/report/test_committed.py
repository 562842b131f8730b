"""What lies in `results/` is what this program makes of the numbers there: no page of an earlier version is left."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmark.leaderboard import table
from benchmark.report.latex import to_latex
from benchmark.report.markdown import to_markdown
from benchmark.study.plan import SUFFIX, Plan
from benchmark.study.study import load

HERE = Path(__file__).parents[2]
RESULTS = sorted(path.parent for path in HERE.glob("results/*/leaderboard.csv"))
TRAINED = "\n\n## Where it was trained\n\n"
WHY = "not applicable: "


def committed(folder):
    """The table of a folder and its plan, from the CSV and the study's file."""
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        lines = [
            {name: value if value or name in table.TEXT_COLUMNS else None for name, value in line.items()}
            for line in csv.DictReader(file)
        ]
    study = load(HERE / "studies" / f"{folder.name}.yaml")
    there = {line["method"] for line in lines}
    names = [row.name for row in study.methods]
    methods = [*names, *(tuned for name in names if (tuned := name + SUFFIX) in there)]
    plan = Plan(
        study.name,
        study.question,
        tuple(pair.name for pair in study.pairs),
        tuple(methods),
        tuple(study.seeds),
        study.select,
        "student",
        {
            f"{line['pair']}/{line['method']}": line["note"][len(WHY) :]
            for line in lines
            if line["note"].startswith(WHY)
        },
        {pair.name: study.dataset.name for pair in study.pairs},
        "legacy" if study.split.legacy else "validated",
        {
            line["method"]: int(line["trials"])
            for line in lines
            if line["method"] in methods and line["trials"]
        },
        reference="kd",
    )
    return table.to_frame(lines, table.COLUMNS), plan


@pytest.mark.parametrize("folder", RESULTS, ids=[folder.name for folder in RESULTS])
def test_the_committed_pages_are_made_from_the_committed_table_by_this_program(folder):
    board, plan = committed(folder)
    page = (folder / "leaderboard.md").read_text(encoding="utf-8")
    provenance = [line.removeprefix("* ") for line in page.split(TRAINED)[1].splitlines()]
    links = next(part for part in page.split("\n\n") if part.startswith("Also: "))
    made = to_markdown(board, None, plan, "leaderboard.png", provenance)
    assert made == page.replace(f"{links}\n\n", "")
    assert to_latex(board, plan) == (folder / "leaderboard.tex").read_text(encoding="utf-8")


def test_there_are_committed_results():
    assert len(RESULTS) >= 6
