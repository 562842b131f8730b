"""Words for counts, durations and lists in messages, tables and figures."""

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


def duration(seconds: float) -> str:
    """Return a duration with its two largest units, such as "10 h 22 min" or "45 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours >= 48:
        return f"{round(seconds / 86400):,} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas; many are cut short, as in "a, b, c and 4 more"."""
    more = len(names) - LISTED
    text = ", ".join(names[:LISTED])
    return f"{text} and {more} more" if more > 0 else text
