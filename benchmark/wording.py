"""Words for counts and lists in messages, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 10
"""Maximum number of names that `listed` writes out."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 cell", "3 cells" or "3 classes".

    Args:
        number: The number.
        noun: The noun in the singular.
        plural: The noun in the plural; by default, the singular and an s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas; many are cut short, as in "a, b, c and 4 more"."""
    more = len(names) - LISTED
    text = ", ".join(names[:LISTED])
    return f"{text} and {more} more" if more > 0 else text


def printable(text: str) -> str:
    """Return a text in one line, with escapes for all that a terminal could not show as it is.

    These are control characters, and bytes of file names that are not UTF-8.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python reads a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
