"""Text that a terminal shows as it is: nothing in it moves the cursor or looks like another line.

Names of files, keys of YAML files and messages of libraries can contain any character.
"""

from __future__ import annotations

import sys
import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, lone surrogates, and ends of lines and paragraphs."""

_FORMAT = "Cf"
"""Unicode category of invisible characters, such as those that reverse the direction of text."""

_JOINERS = "\u00ad\u200c\u200d"
"""Invisible characters that words and emoji need: soft hyphen, non-joiner and joiner."""

_ESCAPED_BYTES = range(0xDC80, 0xDD00)
"""Surrogates by which Python represents the bytes of file names that are not UTF-8."""


def is_unprintable(character: str) -> bool:
    """Return whether a terminal may not show a character as it is."""
    category = unicodedata.category(character)
    return category in _UNPRINTABLE or (category == _FORMAT and character not in _JOINERS)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with unprintable characters escaped as in Python, such as `\n` and `\x1b`.

    Args:
        text: The text.
        keep: Unprintable characters that stay.
    """
    if text.isprintable():
        return text

    escapes = {
        ord(character): _escaped(character)
        for character in set(text)
        if character not in keep and is_unprintable(character)
    }
    return text.translate(escapes)


def print_message(line: str) -> None:
    """Print one line on standard error immediately."""
    print(printable(line), file=sys.stderr, flush=True)


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _ESCAPED_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", errors="backslashreplace").decode("ascii")
