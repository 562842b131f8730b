"""Numbers rounded for people."""

from __future__ import annotations


def plain(value: float, digits: int) -> str:
    """Return `value` with so many decimals, and never a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """Return `value` with its sign and so many decimals; zero has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
