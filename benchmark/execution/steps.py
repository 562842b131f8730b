"""Tells the user which step of a slow preparation is under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

QUIET_SECONDS = 2.0
"""Minimum time before the first line, and between two lines. Quick preparations print none."""


def told(
    items: Sequence[T], say: Callable[[str], None], describe: Callable[[int, int], str]
) -> Iterator[T]:
    """Yield items, and say which one is next if the earlier ones took long.

    Args:
        items: What is worked on, one after another.
        say: Receives the lines.
        describe: Returns the line about an item, given its number (from 1) and the number of items.
    """
    last = time.monotonic()
    for number, item in enumerate(items, start=1):
        now = time.monotonic()
        if now - last >= QUIET_SECONDS:
            say(describe(number, len(items)))
            last = now
        yield item
