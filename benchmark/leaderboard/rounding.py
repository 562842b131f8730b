"""Rounds numbers for display."""

from __future__ import annotations


def plain(value: float, digits: int) -> str:
    """Return `value` with `digits` decimals, never as a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """Return `value` with its sign and `digits` decimals; zero gets a plus sign."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
