"""The house keeps its shape: small files and classes, and code that has room to breathe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.density import density

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for package in ("benchmark", "methods") for path in (ROOT / package).rglob("*.py")
)
LONGEST_FILE, LONGEST_CLASS, LONGEST_MEMBER = 350, 200, 160


def classes() -> Iterator[tuple[str, int]]:
    """Name and number of lines of every class."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
                yield f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_a_reader_can_hold(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_no_class_is_longer_than_a_reader_can_hold() -> None:
    sizes = dict(classes())
    assert {name: size for name, size in sizes.items() if size > LONGEST_CLASS} == {}
    assert sizes["benchmark/training/member.py:Member"] <= LONGEST_MEMBER


def test_bodies_have_paragraphs_and_lines_say_one_thing() -> None:
    blank, operators = density(ROOT / "benchmark")
    assert blank >= 6
    assert operators <= 0.75
