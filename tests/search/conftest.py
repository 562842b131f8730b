"""Fixtures of the tests of searches."""

from __future__ import annotations

import pytest

from tests.search.helpers import Whole, searched, searching


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A search that nothing disturbed; tests leave its trials as they are."""
    workspace = tmp_path_factory.mktemp("whole")
    return workspace, searching(workspace, searched())
