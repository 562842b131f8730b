"""The canonical form of code changes with what the code does, and with nothing else."""

from __future__ import annotations

import pytest

from benchmark.code.syntax import parse

BEFORE = '''"""A module."""
import math
from torch import relu, tanh

SCALE = 2.0
"""A constant."""


def loss(a, b):
    """Compare."""
    # first the difference
    return SCALE * relu(a - b).mean()
'''


def texts(source: str) -> list[str]:
    return [unit.text for unit in parse(source, "").units]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another text,\n\nlonger."""'),
        ("    # first the difference\n", ""),
        ('    """Compare."""\n', ""),
        ('"""A constant."""\n', ""),
        ("SCALE * relu(a - b).mean()", "(\n        SCALE * relu(a - b).mean()\n    )"),
        ("2.0", "2.00"),
        ("from torch import relu, tanh", "from torch import relu\nfrom torch import tanh"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(old: str, new: str) -> None:
    assert old in BEFORE
    assert texts(BEFORE.replace(old, new)) == texts(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "2"),
        ("a - b", "b - a"),
        ("import relu", "import gelu as relu"),
        ("def loss(a, b)", "def loss(a, b=None)"),
        (".mean()", ".sum()"),
    ],
)
def test_everything_else_counts(old: str, new: str) -> None:
    assert texts(BEFORE.replace(old, new)) != texts(BEFORE)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = y = 1", {"x", "y"}),
        ("(a, *b), c = f()", {"a", "b", "c"}),
        ("x: int = 1", {"x"}),
        ("x += 1", {"x"}),
        ("table['k'] = 1", {"table"}),
        ("Loss.forward = other", {"Loss"}),
        ("for i in range(3):\n    x = i", {"i", "x"}),
        ("if a:\n    def f(): inner = 1\nelse:\n    from m import f", {"f"}),
        ("try:\n    import fast as m\nexcept ImportError:\n    import slow as m", {"m"}),
        ("with open('f') as file:\n    text = file.read()", {"file", "text"}),
        ("class C:\n    x = 1", {"C"}),
        ("import a.b", {"a"}),
        ("register(f)", set()),
    ],
)
def test_a_statement_binds_the_names_that_it_assigns_or_modifies(
    source: str, names: set[str]
) -> None:
    (unit,) = parse(source, "").units
    assert unit.binds == names


@pytest.mark.parametrize(
    ("source", "package", "imported"),
    [
        ("import a.b as c", "", [("a.b", None)]),
        ("from a import b", "", [("a", "b")]),
        ("from . import b", "p.q", [("p.q", "b")]),
        ("from .m import b", "p.q", [("p.q.m", "b")]),
        ("from ..m import b", "p.q", [("p.m", "b")]),
        ("def f():\n    from m import g", "", [("m", "g")]),
    ],
)
def test_imports_are_absolute_and_those_inside_functions_count(
    source: str, package: str, imported: list[tuple[str, str | None]]
) -> None:
    units = parse(source, package).units
    assert [(item.module, item.name) for unit in units for item in unit.imports] == imported


def test_only_statements_that_run_on_import_count_without_a_name() -> None:
    source = "'text'\nx = 1\nregister(x)\nif __name__ == '__main__':\n    print(x)\n"
    assert [unit.runs_on_import for unit in parse(source, "").units] == [False, True, False]
