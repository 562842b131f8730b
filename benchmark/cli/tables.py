"""Plain tables and counts in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from benchmark.printable import printable


def table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table without a frame; every cell is text, not markup."""
    plain = Table(
        title=title or None,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for header in headers:
        plain.add_column(header, overflow="fold")
    for row in rows:
        plain.add_row(*(Text(printable(cell)) for cell in row))
    return plain
