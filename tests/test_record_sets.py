"""Record sets beside the twelve of `test_statistics`: where a rule meets another one, and what the page says then."""

from __future__ import annotations

import dataclasses

import pandas as pd
from test_statistics import EIGHT, PLAN, row, shown

from benchmark.leaderboard import footnotes, leaderboard

SIX = dataclasses.replace(PLAN, seeds=tuple(range(6)))


def power(runs, plan):
    """The sentences about what so many seeds cannot show."""
    notes = footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
    return [note for note in notes if note.startswith("n = ")]


# What the footnotes say about power


def test_a_row_with_few_seeds_does_not_make_the_footnotes_deny_what_whole_rows_show():
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [95] * 5)]
    assert ("kd", "student") in shown(runs, EIGHT, ("significant",))
    (told,) = power(runs, EIGHT)
    assert told == (
        "n = 5 in some rows: with fewer than 6 seeds their paired differences cannot reach p < 0.05 in an exact "
        "sign-flip test (smallest possible p = 2/2^5 = 0.0625)."
    )


def test_the_footnotes_deny_significance_only_to_the_comparison_that_has_too_many_rows():
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6), *row("at", [99] * 6)]
    assert ("at", "kd") in shown(runs, SIX, ("significant",))
    (told,) = power(runs, SIX)
    assert told.endswith("2 x 2/2^6 = 0.0625, so no difference to the student alone can reach p < 0.05.")
    plan = dataclasses.replace(SIX, methods=("student", "kd", "at", "dkd"))
    (told,) = power([*runs, *row("dkd", [99] * 6)], plan)
    assert told.endswith("3 x 2/2^6 = 0.09375, so no difference to the student alone or to kd can reach p < 0.05.")


def test_the_footnotes_deny_significance_only_to_pairs_that_have_too_many_rows():
    plan = dataclasses.replace(SIX, pairs=("p", "q"), not_applicable={"q/at": "needs maps"})
    runs = [
        entry for pair in "pq" for name in ("student", "kd") for entry in row(name, [90 + (name == "kd")] * 6, pair)
    ]
    runs += row("at", [99] * 6)
    assert ("q", "kd", "student") in shown(runs, plan, ("significant",))
    (told,) = power(runs, plan)
    assert told.endswith("so no difference to the student alone can reach p < 0.05 on a pair with so many.")
