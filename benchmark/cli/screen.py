"""Where a command prints: results on standard output, messages and progress on standard error.

Whatever is printed, a terminal receives no control characters but those of the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from benchmark.printable import print_message, printable

if TYPE_CHECKING:
    from benchmark.training.progress import Progress

UNFOLDED = 10_000
"""A width that no table reaches."""


class SafeConsole(Console):
    """A console that escapes control characters in whatever it prints, except line breaks."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the parts of something to print; their styles and layout stay."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text, keep="\n"), style)


output = SafeConsole(highlight=False)
messages = SafeConsole(stderr=True, highlight=False, force_jupyter=False)


def print_wide(content: RenderableType) -> None:
    """Print tables.

    They wrap at the width of a terminal, but not in a file or a pipe, so that programs can search
    the output for whole words.
    """
    console = output if output.is_terminal else SafeConsole(highlight=False, width=UNFOLDED)
    console.print(content)


def print_line(text: str) -> None:
    """Print one line of a result, without wrapping it."""
    output.print(printable(text), markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print one message, without wrapping it."""
    messages.print(printable(text), markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print one warning."""
    messages.print(printable(f"warning: {text}"), style="yellow", markup=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line on standard error immediately, bypassing rich."""
    print_message(line)


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
