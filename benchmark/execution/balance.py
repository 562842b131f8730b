"""Divides cells into cohorts so that all workers are busy, and few teacher passes are repeated."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def balanced(
    groups: Sequence[list[T]], workers: int, cost: Callable[[list[T]], float]
) -> list[list[T]]:
    """Divide groups of cells into cohorts for some workers, which begin with the most expensive.

    A whole group is the cheapest cohort, because its cells share the teacher's passes. It is
    divided where more cohorts let the workers finish earlier, although each has passes of its own.

    Args:
        groups: Cells that can be trained side by side, in order.
        workers: Number of workers, each of which trains one cohort at a time. One worker gets the
            groups as they are.
        cost: Returns the cost of a cohort.
    """
    if workers == 1:
        return list(groups)

    best: list[tuple[float, list[T]]] = []
    most = max((len(group) for group in groups), default=0)
    for parts in range(1, min(workers, most) + 1):
        cohorts = [(cost(part), part) for group in groups for part in _divided(group, parts)]
        cohorts.sort(key=lambda item: -item[0])
        if not best or makespan(cohorts, workers) < makespan(best, workers):
            best = cohorts
    return [cohort for _, cohort in best]


def makespan(cohorts: Sequence[tuple[float, object]], workers: int) -> float:
    """Return the time that workers take for cohorts, of which each begins the next when it is free.

    Args:
        cohorts: Pairs of a time and a cohort, in the order in which they begin.
        workers: Number of workers.
    """
    busy_until = [0.0] * workers
    for time, _ in cohorts:
        heapq.heapreplace(busy_until, busy_until[0] + time)
    return max(busy_until)


def _divided(group: list[T], parts: int) -> list[list[T]]:
    """Divide a list into parts whose lengths differ by one at most; none of them is empty."""
    parts = min(parts, len(group))
    bounds = [len(group) * part // parts for part in range(parts + 1)]
    return [group[start:end] for start, end in itertools.pairwise(bounds)]
