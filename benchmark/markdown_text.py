"""Escape plain text for Markdown, and write Markdown links, lists and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(
    r"[\\`|$]"
    r"|(?<!\s)\*|\*(?!\s)"
    r"|(?<!\w)_|_(?!\w)"
    r"|<(?=[A-Za-z/!?])"
    r"|\](?=[(\[:])"
    r"|~(?=~)"
    r"|&(?=#?\w+;)"
)
"""Characters that are Markdown syntax anywhere in a line."""

_SPECIAL_AT_START = re.compile(
    r"^("
    r"\d{1,9}(?=[.)](?:\s|$))"
    r"|(?=#{1,6}(?:\s|$)|[-+](?:\s|$)|--+$|>|\[[ xX]\]\s)"
    r")"
)
"""Syntax of a heading, list item, quotation or task at the start of a paragraph."""


class Markdown(str):
    """Text that is already Markdown, so `table` does not escape it."""

    __slots__ = ()


def inline(text: str) -> str:
    """Escape text for use within a line or a table cell, but only where necessary."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def block(text: str) -> str:
    """Escape text that starts a paragraph or a list item, where `# ` and `1. ` are syntax too."""
    return _SPECIAL_AT_START.sub(r"\1\\", inline(text))


def bold(text: str) -> Markdown:
    """Return text in bold."""
    return Markdown(f"**{inline(text)}**")


def link(text: str, address: str) -> Markdown:
    """Return a link.

    Args:
        text: Text of the link.
        address: Target of the link, already quoted for a URL.
    """
    return Markdown(f"[{inline(text)}]({address})")


def bullets(texts: Iterable[str]) -> str:
    """Return a bulleted list of plain texts."""
    return "\n".join(f"* {block(text)}" for text in texts)


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool] = ()
) -> str:
    """Return a table.

    Args:
        titles: Headers.
        rows: Cells, one per header. Plain text is escaped, `Markdown` is not.
        numeric: Whether each column is right-aligned. If empty, all columns are left-aligned.
    """
    rules = [Markdown("---:" if right else "---") for right in numeric or [False] * len(titles)]
    return "\n".join(_row(cells) for cells in (titles, rules, *rows))


def _row(cells: Sequence[str]) -> str:
    texts = [cell if isinstance(cell, Markdown) else inline(cell) for cell in cells]
    return f"| {' | '.join(texts)} |"
