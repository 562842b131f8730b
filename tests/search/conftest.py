"""Fixtures of the tests of searches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmark.search import tune
from tests.search.helpers import Whole, searched, searching


@pytest.fixture(scope="session", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Optuna's pictures are drawn by `test_recording` alone: they take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "draw_pictures", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A search that nothing disturbed; tests leave its trials as they are."""
    workspace = tmp_path_factory.mktemp("whole")
    return workspace, searching(workspace, searched())
