"""Results that several tests read, written once."""

from __future__ import annotations

import pytest

from benchmark.report import files
from tests.support.tabled import histories, tables


@pytest.fixture(scope="session")
def small_results(tmp_path_factory):
    """The folder of the small study's leaderboard, with learning curves. Tests must not write."""
    folder = tmp_path_factory.mktemp("results") / "small"
    files.write(*tables(), folder, ["9 students: torch 2"], histories())
    return folder
