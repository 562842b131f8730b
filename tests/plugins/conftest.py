"""Fixtures of the tests of plug-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.plugged import clean

__all__ = ["clean"]

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, clean: None) -> Write:
    """Write a file next to the study."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
