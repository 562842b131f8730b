"""Refuses to compare runs from different environments, or marks them where this is allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmark.leaderboard.rows import PairRows, Row, Run
from benchmark.wording import counted


class MixedEnvironmentsError(ValueError):
    """The environments of a pair's runs differ in ways that can affect results."""


def usual_environment(rows: PairRows, mix: bool) -> str:
    """Return the most common fingerprint of a pair's finished runs.

    Args:
        rows: The rows of the pair.
        mix: Whether the runs may have different fingerprints.

    Returns:
        The most common fingerprint (the alphabetically first in a tie); empty if no run has one.

    Raises:
        MixedEnvironmentsError: There are several fingerprints, and `mix` is False.
    """
    counts = Counter(
        fingerprint
        for row in rows.methods.values()
        for run in row.finished.values()
        if (fingerprint := _fingerprint(run))
    )
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    if len(ordered) > 1 and not mix:
        listed = "; ".join(
            f"{counts[name]} in {_distinguishing_parts(name, ordered)}" for name in ordered
        )
        raise MixedEnvironmentsError(
            f"the runs of {rows.pair} were trained in different environments ({listed}): retrain "
            "them in one, or pass --mix-environments to show them, marked, in one table"
        )
    return ordered[0] if ordered else ""


def environment_notes(row: Row, usual: str) -> list[str]:
    """Return a note on a row if some of its runs were trained outside the usual environment."""
    fingerprints = [_fingerprint(run) for run in row.finished.values()]
    others = [fingerprint for fingerprint in fingerprints if fingerprint not in ("", usual)]
    if not others:
        return []

    listed = "; ".join(_distinguishing_parts(name, (name, usual)) for name in sorted(set(others)))
    return [
        f"{len(others)} of {counted(row.n, 'run')} {_were(len(others))} trained in another "
        f"environment ({listed})"
    ]


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _distinguishing_parts(fingerprint: str, fingerprints: Sequence[str]) -> str:
    """Return the parts of a fingerprint that not all others share, or else those that it lacks."""
    parts = fingerprint.split(", ")
    all_parts = [other.split(", ") for other in (*fingerprints, fingerprint)]

    common = set.intersection(*map(set, all_parts))
    own = [part for part in parts if part not in common]
    if own:
        return ", ".join(own)

    lacking = dict.fromkeys(part for other in all_parts for part in other if part not in parts)
    return f"no {' and no '.join(lacking)}"


def _fingerprint(run: Run) -> str:
    fingerprint = run["fingerprint"]
    return fingerprint if isinstance(fingerprint, str) else ""
