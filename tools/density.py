"""Density of code: blank lines in function bodies and operators per line, over whole packages.

Usage: python tools/density.py [PACKAGE...]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

OPERATORS = (
    ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.IfExp, ast.BoolOp,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def bodies(tree: ast.Module, lines: list[str]) -> Iterator[str]:
    """Yield the lines of all function bodies without docstrings, each line once."""
    nested = {
        id(inner)
        for f in ast.walk(tree)
        if isinstance(f, FUNCTIONS)
        for inner in ast.walk(f)
        if inner is not f
    }
    for node in ast.walk(tree):
        if not isinstance(node, FUNCTIONS) or id(node) in nested:
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if body:
            yield from lines[body[0].lineno - 1 : body[-1].end_lineno]


def density(folder: Path) -> tuple[float, float]:
    """Return the percentage of blank lines in function bodies, and operators per non-blank line."""
    blank = inside = operators = code = 0
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        tree, lines = ast.parse(text), text.splitlines()
        inner = list(bodies(tree, lines))
        blank, inside = blank + sum(not line.strip() for line in inner), inside + len(inner)
        operators += sum(isinstance(node, OPERATORS) for node in ast.walk(tree))
        code += sum(bool(line.strip()) for line in lines)
    return 100 * blank / max(inside, 1), operators / max(code, 1)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["benchmark", "methods"]:
        blank_lines, per_line = density(Path(name))
        print(
            f"{name}: {blank_lines:.1f} % blank lines in bodies, {per_line:.2f} operators per line"
        )
