"""Write the pages and figures in `results/` again, after a change of words or looks.

Numbers stay as they are: everything is made from the tables and the summary of each study. Learning
curves need histories, which are not there, so their figures stay as they are too.

Usage: python -m tools.rebuild_results
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmark.files import write_all
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.summary import to_json
from benchmark.report import files, gallery
from benchmark.report.figures import all_figures
from benchmark.report.figures.base import Tables, render

ROOT = Path(__file__).parents[1]


def rebuild(folder: Path) -> None:
    """Write the pages, figures and the summary of a study again."""
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
    contents[files.SUMMARY] = to_json(summary).encode()
    write_all(folder, contents)


if __name__ == "__main__":
    results = ROOT / "results"
    for path in sorted(results.glob("*/summary.json")):
        rebuild(path.parent)
    gallery.write(results, ROOT / "studies", "../studies")
