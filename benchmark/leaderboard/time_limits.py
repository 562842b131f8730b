"""Marks the rows whose training was ended by the time limit of their recipe."""

from __future__ import annotations

from benchmark.leaderboard.rows import Row


def time_limit_notes(row: Row) -> list[str]:
    """Return a note on a row if `max_hours` ended the training of some of its runs."""
    stops = [
        tuple(map(int, text.split("/")))
        for run in row.finished.values()
        if isinstance(text := run.get("stopped"), str) and text
    ]
    if not stops:
        return []

    after = _range([stop[0] for stop in stops])
    planned = _range([stop[1] for stop in stops])
    which = "" if len(stops) == row.n else f"{len(stops)} of {row.n} runs "
    return [f"{which}stopped by max_hours after {after} of {planned} epochs"]


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
