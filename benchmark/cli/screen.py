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
"""A width that no table reaches."""

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False, force_jupyter=False)


def print_wide(content: RenderableType) -> None:
    """Print tables.

    They wrap at the width of a terminal, but not in a file or a pipe, so that programs can search
    the output for whole words.
    """
    console = output if output.is_terminal else Console(highlight=False, width=UNFOLDED)
    console.print(content)


def print_line(text: str) -> None:
    """Print one line of a result, without wrapping it."""
    output.print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print one message, without wrapping it."""
    messages.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print one warning."""
    messages.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line on standard error immediately, bypassing rich."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Show progress: a live display in a terminal, lines elsewhere, such as in a notebook."""
    from benchmark.cli.progress import LiveProgress, PlainProgress

    # Jupyter asks for colors, which rich takes for a terminal; but its output has no cursor.
    if messages.is_terminal and messages.file.isatty():
        with LiveProgress(messages) as live:
            yield live
    else:
        yield PlainProgress(messages)
