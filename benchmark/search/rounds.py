"""The cohorts in which the trials of a search are trained: round by round, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from benchmark.hashing import canonical
from benchmark.study.schema import Recipe, Search

T = TypeVar("T")


def rounds(search: Search) -> Iterator[range]:
    """Yield the numbers of the trials of each round."""
    for start in range(0, search.trials, search.together):
        yield range(start, min(start + search.together, search.trials))


def cohorts(items: Sequence[tuple[Recipe, T]], size: int | None) -> list[tuple[Recipe, list[T]]]:
    """Divide cells into cohorts, whose members are trained on the same batches.

    Args:
        items: The recipe of each cell, and anything that stands for the cell.
        size: Maximum number of cells per cohort; None for no limit.

    Returns:
        For each cohort, the recipe of its first cell, and its cells.
    """
    groups: dict[str, tuple[Recipe, list[T]]] = {}
    for recipe, item in items:
        groups.setdefault(canonical(recipe.stream), (recipe, []))[1].append(item)

    step = size or max(1, len(items))
    return [
        (recipe, members[start : start + step])
        for recipe, members in groups.values()
        for start in range(0, len(members), step)
    ]
