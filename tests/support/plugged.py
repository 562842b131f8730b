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
