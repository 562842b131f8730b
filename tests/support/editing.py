"""Pretends that a module of kdbench was edited after a study."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from benchmark.code import syntax
from benchmark.execution import cell_code

ROOT = Path(methods.__file__).parents[1]


def edited(patch: pytest.MonkeyPatch, module: str, old: str, new: str) -> None:
    """Let digests see a module as if its text had been changed."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text()
    assert old in text
    changed = syntax.parse(text.replace(old, new), module.rpartition(".")[0])
    patch.setitem(syntax._parsed, (path, module), changed)
    cell_code._remembered.cache_clear()
