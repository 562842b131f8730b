"""Where the numbers of a table were made."""

from __future__ import annotations

import pandas as pd

from benchmark.leaderboard.provenance import provenance
from tests.support.handmade import KD, full, row, teacher


def test_provenance_counts_the_finished_networks_of_each_environment():
    environments = ("here", "here", "there", "here")
    finished = [
        entry | {"environment": environment}
        for entry, environment in zip([teacher(), *row("kd", KD)], environments, strict=True)
    ]
    failed = finished[-1] | {"status": "FAILED", "environment": "nowhere"}
    assert provenance(pd.DataFrame([*finished, failed])) == [
        "2 students, 1 teacher: here",
        "1 student: there",
    ]


def test_without_runs_there_is_no_provenance():
    assert provenance(pd.DataFrame()) == []


def test_an_environment_that_was_not_recorded_is_told():
    entry = full()[0] | {"environment": ""}
    assert provenance(pd.DataFrame([entry])) == ["1 teacher: not recorded"]
