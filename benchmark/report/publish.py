"""All files of a leaderboard: those of `report`, the HTML page, the LaTeX tables and further pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.files import write_all
from benchmark.leaderboard.headline import student_label
from benchmark.report import files as report_files
from benchmark.report.figures import curves, heatmap, pareto, ranks
from benchmark.report.html import to_html
from benchmark.report.latex import to_latex
from benchmark.report.markdown import PICTURE
from benchmark.study.plan import Plan

CLOCKED = ("costs.csv", "leaderboard.html", "pareto.svg", "pareto.png")
"""Files that hold numbers of a clock, which differ between two trainings with equal results."""

TITLES = {
    "leaderboard": PICTURE,
    "ranks": "Mean ranks over pairs; bars join methods that do not differ at the 5 % level (Nemenyi)",
    "curves": "Validation accuracy while training",
    "pareto": (
        "Accuracy over latency, parameters and compute; "
        "a line joins the rows (filled) that no other equals at less cost or beats at the same"
    ),
}

_NAMES = {
    "heatmap": "methods by pairs",
    "ranks": "mean ranks",
    "curves": "learning curves",
    "pareto": "accuracy over cost",
}


def write(
    board: pd.DataFrame,
    costs: pd.DataFrame,
    plan: Plan,
    folder: Path,
    provenance: Sequence[str] = (),
    histories: pd.DataFrame | None = None,
) -> list[Path]:
    """Writes the files, each as a whole, and takes away pictures that this leaderboard does not have.

    histories: validation accuracies as `recorded.histories` gives them.
    """
    drawn = {
        "heatmap": heatmap.heatmap(board, plan),
        "ranks": ranks.ranks(board, plan),
        "curves": None if histories is None else curves.curves(histories, board, plan),
        "pareto": pareto.draw(board, costs, plan),
    }
    pictures = {name: report_files.rendered(one) for name, one in drawn.items() if one is not None}
    links = {"a page with tables that sort": "leaderboard.html", "LaTeX": "leaderboard.tex"}
    links |= {_NAMES[name]: f"{name}.png" for name in pictures}
    paths = report_files.write(board, costs, plan, folder, provenance, links)
    titles = TITLES | {
        "heatmap": f"Points against {student_label(plan.methods, plan)}, methods by pairs"
    }
    shown = {titles["leaderboard"]: (folder / "leaderboard.svg").read_bytes()}
    shown |= {titles[name]: svg for name, (svg, _) in pictures.items()}
    files = {"CSV": "leaderboard.csv", "costs as CSV": "costs.csv", "LaTeX": "leaderboard.tex"}
    contents = {
        "leaderboard.html": to_html(board, costs, plan, shown, provenance, files).encode(),
        "leaderboard.tex": to_latex(board, plan).encode(),
    }
    for name, (svg, png) in pictures.items():
        contents |= {f"{name}.svg": svg, f"{name}.png": png}
    for name in drawn.keys() - pictures.keys():
        for ending in ("svg", "png"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    return paths + write_all(folder, contents)
