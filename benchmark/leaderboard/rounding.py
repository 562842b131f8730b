"""How a number is rounded for people: plain, or with its sign."""

from __future__ import annotations


def plain(value: float, digits: int) -> str:
    """`value` with that many decimals, and never a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """`value` with its sign and that many decimals; zero has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
