"""Cells of every kind that the engine treats differently, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.studies import run, tiny
from tests.training.rows import KINDS, row


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One method of each kind, in one cohort."""
    workspace = tmp_path_factory.mktemp("kinds")
    assert not run(workspace, tiny([row(name) for name in KINDS])).failed
    return workspace
