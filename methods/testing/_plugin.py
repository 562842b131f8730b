"""The pytest plugin of the conformance tests: `--methods` names the methods to test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from methods.testing._cases import Subject
from methods.testing._loading import subjects_of

SUBJECTS = pytest.StashKey[Sequence[Subject]]()
"""Where a session keeps the methods that it tests."""

SUITE = Path(__file__).with_name("conformance.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("methods.testing", "conformance of distillation methods").addoption(
        "--methods",
        action="append",
        default=[],
        metavar="FILE",
        help="Test the methods that this file or module registers. May be repeated.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the methods, before anything is collected."""
    if config.getoption("help"):
        return

    sources: list[str] = config.getoption("methods")
    if not sources:
        raise pytest.UsageError(
            "methods.testing tests your own methods; add --methods my_methods.py, or the name of "
            "a module"
        )

    folder = config.invocation_params.dir
    subjects = {
        subject.name: subject for source in sources for subject in subjects_of(source, folder)
    }
    config.stash[SUBJECTS] = list(subjects.values())


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect the suite, whose name keeps it out of every session without this plugin."""
    return pytest.Module.from_parent(parent, path=file_path) if file_path == SUITE else None
