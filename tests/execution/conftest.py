"""Fixtures of the tests of execution."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution.run import Summary
from tests.support.studies import run, tiny


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a study of two rows, trained; tests leave its records as they are."""
    workspace = tmp_path_factory.mktemp("ran")
    assert run(workspace, tiny()) == Summary(planned=2, trained=2)
    return workspace
