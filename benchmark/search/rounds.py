"""The cohorts in which the trials of a search are trained: round by round, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from benchmark.execution.balance import balanced
from benchmark.execution.estimate import macs_of
from benchmark.execution.prepare import Prepared
from benchmark.hashing import canonical
from benchmark.study.schema import Search
from benchmark.study.study import Cell

T = TypeVar("T")


def in_order(search: Search) -> bool:
    """Return whether the cohorts of a round must be trained one after another.

    Hyperband compares the trials of a round with each other, so those that it prunes depend on the
    order of epochs.
    """
    return search.pruner == "hyperband"


def search_workers(search: Search, workers: int) -> int:
    """Return how many of some workers can train cohorts of a round at once."""
    return 1 if in_order(search) else workers


def rounds(search: Search) -> Iterator[range]:
    """Yield the numbers of the trials of each round."""
    for start in range(0, search.trials, search.together):
        yield range(start, min(start + search.together, search.trials))


def cohorts(
    prepared: Prepared, items: Sequence[tuple[Cell, T]], size: int | None, workers: int
) -> list[list[tuple[Cell, T]]]:
    """Divide trials of a pair and a seed into cohorts, whose members share their batches.

    Args:
        prepared: The study.
        items: For each trial, a cell of the same cost, and any further value.
        size: Maximum number of trials per cohort; None for the size that suits the workers.
        workers: Number of cohorts that are trained at once.
    """
    groups: dict[str, list[tuple[Cell, T]]] = {}
    for item in items:
        groups.setdefault(canonical(item[0].recipe.stream), []).append(item)

    if size is None:
        cells = [*groups.values()]
        return balanced(cells, workers, lambda own: macs_of(prepared, [cell for cell, _ in own]))
    return [
        members[start : start + size]
        for members in groups.values()
        for start in range(0, len(members), size)
    ]
