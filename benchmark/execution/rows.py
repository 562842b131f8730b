"""The methods of rows and cells."""

from __future__ import annotations

from collections.abc import Iterator

import methods
from benchmark.study.schema import Row
from benchmark.study.study import Cell, Study
from methods import Method


def method_of(cell: Cell) -> Method:
    """Create the method of a cell, with the cell's settings."""
    return methods.create(cell.row.method, **cell.settings)


def is_altered(row: Row) -> bool:
    """Return whether a row differs from the method of the same name with its published settings.

    Settings that a search chose don't count as a difference; a recipe of the row's own does.
    """
    if row.recipe:
        return True

    settings = methods.create(row.method, **row.settings).settings
    return row.name != row.method or settings != methods.create(row.method).settings


def row_of(study: Study, method: str) -> str | None:
    """Return the name of the first row with a method and the study's recipe, if there is one."""
    names = (
        row.name
        for row in study.methods
        if row.method == method and study.recipe_of(row) == study.recipe
    )
    return next(names, None)


def method_classes(name: str) -> Iterator[type[Method]]:
    """Yield the classes that a method consists of: `ls(kd)+at` has those of `ls`, `kd` and `at`."""
    for part in methods.parts(name):
        outer, _, rest = part.partition("(")
        kind = methods.get(outer.strip())
        yield kind

        inner = rest.removesuffix(")").strip() or kind.wraps
        if inner:
            yield methods.get(inner)
