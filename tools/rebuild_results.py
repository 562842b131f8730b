"""Rebuild the pages and figures in `results/` after a change of wording or style.

Numbers do not change: everything is derived from the tables and the summary of each study. Learning
curves need training histories, which `results/` does not contain, so those figures are kept.

Usage: python -m tools.rebuild_results
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmark.files import write_all
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.summary import FILE as SUMMARY
from benchmark.leaderboard.summary import to_json
from benchmark.report import files, gallery
from benchmark.report.figures import all_figures
from benchmark.report.figures.base import Tables, render

ROOT = Path(__file__).parents[1]


def rebuild(folder: Path) -> None:
    """Rebuild the pages, figures and summary of a study."""
    board, costs, summary = files.read(folder)
    tables = Tables(board, costs, summary.plan)

    contents = {}
    for kind in all_figures():
        figure = kind.draw(tables)
        if figure is not None:
            contents[f"{kind.name}.svg"], contents[f"{kind.name}.png"] = render(figure)

    svgs = {path.stem: path.read_bytes() for path in folder.glob("*.svg")}
    svgs |= {Path(name).stem: content for name, content in contents.items() if ".svg" in name}
    contents |= files.pages(board, costs, summary.plan, summary.provenance, svgs)
    summary = dataclasses.replace(summary, headline=headline(board, summary.plan))
    contents[SUMMARY] = to_json(summary).encode()
    write_all(folder, contents)


if __name__ == "__main__":
    results = ROOT / "results"
    for path in sorted(results.glob("*/summary.json")):
        rebuild(path.parent)
    gallery.write(results, ROOT / "studies", "../studies")
