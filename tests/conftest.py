"""Fixtures of all tests.

They import what they need inside, so that tests of tables need neither PyTorch nor MLflow.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.studies import Tracked


LONGEST = (
    "system/test_crash.py",
    "system/test_notebook.py",
    "methods/test_dropin.py",
    "search/test_tune.py",
    "training/test_cohort.py",
    "cli/test_run.py",
    "execution/test_imported_teachers.py",
    "gpu/test_cells.py",
    "gpu/test_steps.py",
)
"""The files whose tests take longest, in that order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no worker is left alone with one at the end."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Exempt what is loaded by now from garbage collection, which would search it all each time."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> Iterator[None]:
    """A developer's own settings reach no test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "KDBENCH_WORKSPACE", "KDBENCH_FAILPOINT"):
            patch.delenv(name, raising=False)
        # A worker process lacks what tests replace in their own, and takes seconds to start.
        patch.setenv("KDBENCH_EXECUTOR", "inline")
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick(request: pytest.FixtureRequest) -> None:
    """Networks, data and stores of tests take no time."""
    if request.config.pluginmanager.has_plugin("tests.support.no_heavy"):
        return  # no network is trained

    from tests.support.quick import quicken

    quicken()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace."""
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Trained once, for many tests to read; a test that writes takes a workspace of its own."""
    from tests.support.studies import run_tracked

    return run_tracked(tmp_path_factory.mktemp("tracked"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaderboards have no figures: drawing them takes longer than a tiny training."""
    from benchmark.report import files

    monkeypatch.setattr(files, "all_figures", tuple)


@pytest.fixture(scope="session")
def template() -> Path:
    """A database of MLflow's without experiments, made once."""
    from tests.support import quick

    return quick.template()


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Any:
    """An empty MLflow store."""
    from tests.support.journalled import store_from

    return store_from(template, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """A study's folder in which nothing has begun."""
    from tests.support.journalled import Study

    return Study(tmp_path)
