"""Lists the environments in which the networks of a table were trained."""

from __future__ import annotations

import pandas as pd


def provenance(runs: pd.DataFrame) -> list[str]:
    """Return a line for every environment, with the number of networks trained there.

    Args:
        runs: All runs of the study; only finished ones count.
    """
    if runs.empty:
        return []

    lines = []
    finished = runs[runs["status"] == "FINISHED"]
    for environment, trained in finished.groupby("environment"):
        students = int((trained["kind"] == "run").sum())
        teachers = len(trained) - students
        counts = [_count(students, "student"), _count(teachers, "teacher")]
        networks = ", ".join(filter(None, counts))
        lines.append(f"{networks}: {str(environment) or 'not recorded'}")
    return lines


def _count(number: int, noun: str) -> str:
    """Return a count such as "2 students"; empty for zero."""
    if not number:
        return ""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
