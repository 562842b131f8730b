"""Rows whose training was ended by the time limit are marked."""

from __future__ import annotations

import pytest

from tests.support.handmade import KD, full, line, run, teacher


@pytest.mark.parametrize(
    ("stops", "note"),
    [
        (["7/12"] * 3, "stopped by max_hours after 7 of 12 epochs"),
        (["7/12", "9/12", "8/12"], "stopped by max_hours after 7 to 9 of 12 epochs"),
        (["7/12", "", "8/12"], "2 of 3 runs stopped by max_hours after 7 to 8 of 12 epochs"),
        (["", "", "1/12"], "1 of 3 runs stopped by max_hours after 1 of 12 epochs"),
        (["", "", ""], ""),
    ],
)
def test_a_row_says_after_how_many_epochs_its_runs_were_stopped(stops, note):
    others = [entry for entry in full() if entry["method"] != "kd"]
    runs = [
        run("kd", seed, acc1) | {"stopped": stop}
        for seed, (acc1, stop) in enumerate(zip(KD, stops, strict=True))
    ]
    kd = line([*others, *runs], "kd")
    assert kd["note"] == note
    assert kd["rank"] == 1


def test_a_teacher_that_was_stopped_says_so():
    others = [entry for entry in full() if entry["kind"] != "teacher"]
    stopped = teacher() | {"stopped": "3/4"}
    assert line([stopped, *others], "teacher")["note"] == "stopped by max_hours after 3 of 4 epochs"
