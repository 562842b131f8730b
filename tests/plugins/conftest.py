"""Fixtures of the tests of plug-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import methods
from benchmark.plugins import loading
from benchmark.plugins.kinds import REGISTRIES

Write = Callable[[str, str], Path]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what plug-ins leave behind in the process."""
    modules, path = set(sys.modules), list(sys.path)
    registered = set(methods.names())
    for name in ("_plugins", "_imported"):
        monkeypatch.setattr(loading, name, {})
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_entries", {})
    yield

    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and "site-packages" not in file and "/benchmark/" not in file:
            del sys.modules[name]
    for name in set(methods.names()) - registered:
        methods.unregister(name)


@pytest.fixture
def write(tmp_path: Path, clean: None) -> Write:
    """Write a file next to the study."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
