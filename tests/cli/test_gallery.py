"""The command that writes the front page of all results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.report import files
from tests.support.commandline import kdbench
from tests.support.tabled import tables

pytestmark = pytest.mark.subprocess

PAGES = ("README.md", "index.html")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Results of a study, and its study file."""
    results, studies = tmp_path / "results", tmp_path / "studies"
    files.write(*tables(), results / "small")
    studies.mkdir()
    (studies / "first.yaml").write_text("name: small\nquestion: Which is best?\n")
    return results, studies


def test_the_command_writes_the_same_bytes_each_time(folders: tuple[Path, Path]) -> None:
    results, studies = folders
    arguments = ("gallery", "--results", results, "--studies", studies)
    assert kdbench(*arguments).code == 0
    before = [(results / name).read_bytes() for name in PAGES]

    ended = kdbench(*arguments)
    assert ended.err.splitlines() == [f"wrote {results / name}" for name in PAGES]
    assert [(results / name).read_bytes() for name in PAGES] == before
    assert b"../studies/first.yaml" in before[0]


def test_folders_without_a_leaderboard_are_an_error_in_one_line(tmp_path: Path) -> None:
    ended = kdbench("gallery", "--results", tmp_path, "--studies", tmp_path)
    assert ended.code == 2
    assert ended.err.startswith(f"kdbench: {tmp_path}: no leaderboard there")
