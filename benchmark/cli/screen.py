"""Where a command prints: results on standard output, messages and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from benchmark.training.progress import Progress

UNFOLDED = 10_000
"""Columns: more than any table has."""

output, messages = Console(highlight=False), Console(stderr=True, highlight=False)


def print_wide(what: RenderableType) -> None:
    """Prints tables, folded to a terminal's width; elsewhere not at all, because a program looks for whole words."""
    wide = output if output.is_terminal else Console(highlight=False, width=UNFOLDED)
    wide.print(what)


def say(line: str) -> None:
    """Prints a line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress_display() -> Iterator[Progress]:
    """A live display on a terminal, lines elsewhere."""
    from benchmark.cli.progress import LiveProgress, PlainProgress

    if messages.is_terminal:
        with LiveProgress(messages) as live:
            yield live
    else:
        yield PlainProgress(messages)
