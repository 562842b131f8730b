"""The pages in `results/` are what this program makes of the numbers there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.leaderboard.headline import headline
from benchmark.report import files, gallery

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("results/*/leaderboard.csv"))

each_study = pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])


def test_there_are_committed_results():
    assert len(FOLDERS) >= 6


@each_study
def test_the_committed_pages_are_made_from_the_committed_numbers(folder):
    board, costs, summary = files.read(folder)
    figures = {path.stem: path.read_bytes() for path in folder.glob("*.svg")}
    pages = files.pages(board, costs, summary.plan, summary.provenance, figures)
    assert pages.keys() == {path.name for path in folder.glob("leaderboard.*")} & pages.keys()
    for name, content in pages.items():
        assert content == (folder / name).read_bytes(), name


@each_study
def test_the_committed_tables_are_written_as_they_are_read(folder):
    board, costs, _ = files.read(folder)
    assert files.to_csv(board).encode() == (folder / "leaderboard.csv").read_bytes()
    assert files.to_csv(costs).encode() == (folder / "costs.csv").read_bytes()


@each_study
def test_the_committed_summary_has_the_headline_of_the_committed_numbers(folder):
    board, _, summary = files.read(folder)
    assert summary.headline == headline(board, summary.plan)
    assert summary.plan.study == folder.name


def test_the_committed_gallery_is_made_from_the_committed_results():
    results, studies = ROOT / "results", ROOT / "studies"
    shown = gallery.entries(results, studies)
    missing = [path.name for path in gallery.unpublished(shown, studies)]
    markdown = gallery.to_markdown(shown, missing, "../studies")
    html = gallery.to_html(shown, missing, "../studies")
    assert markdown == (results / "README.md").read_text(encoding="utf-8")
    assert html == (results / "index.html").read_text(encoding="utf-8")
