"""Lets tests load plug-ins, and undoes what these leave behind in the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

import methods
from benchmark.plugins import loading
from benchmark.plugins.kinds import REGISTRIES


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget all plug-ins that a test loads."""
    path = list(sys.path)
    registered = set(methods.names())
    for name in ("_plugins", "_imported"):
        monkeypatch.setattr(loading, name, {})
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_entries", {})
    yield

    sys.path[:] = path
    for name in loading._imported:
        sys.modules.pop(name, None)
    for name in set(methods.names()) - registered:
        methods.unregister(name)
