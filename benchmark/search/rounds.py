"""The cohorts in which the trials of a search are trained: round by round, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from benchmark.study.schema import Search

T = TypeVar("T")


def rounds(search: Search) -> Iterator[range]:
    """Yield the numbers of the trials of each round."""
    for start in range(0, search.trials, search.together):
        yield range(start, min(start + search.together, search.trials))


def chunks(items: Sequence[T], size: int | None) -> list[Sequence[T]]:
    """Divide items into groups of at most `size`; None for no limit."""
    step = size or max(1, len(items))
    return [items[start : start + step] for start in range(0, len(items), step)]
