"""Recurrent networks in a study: they learn, teach, are taught and appear in the leaderboard."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support.commandline import kdbench
from tests.support.networks import TEACHER
from tests.support.studies import plan, tiny, write_study

pytestmark = pytest.mark.trains

GRU = {"model": "row_gru", "kwargs": {"hidden_size": 8}}
TEACHERS = {
    "cnn-gru": TEACHER,
    "gru-gru": {"model": "row_gru", "kwargs": {"hidden_size": 32, "num_layers": 2}},
}
PAIRS = [{"name": name, "teacher": teacher, "student": GRU} for name, teacher in TEACHERS.items()]


@pytest.mark.usefixtures("no_figures")
def test_a_cnn_and_a_gru_teach_a_gru_and_methods_that_need_its_maps_are_not_applicable(
    workspace: Path,
) -> None:
    rows = ["student", "kd", "fitnet", "kd+at"]
    need_maps = ("fitnet", "kd+at")
    study = write_study(workspace / "tiny.yaml", tiny(rows, pairs=PAIRS))
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    assert "4 cells trained, 0 already done, 0 failed\n" in done.err

    assert kdbench("--workspace", workspace, "sync", study).code == 0

    reasons = plan(workspace)["not_applicable"]
    assert list(reasons) == [f"{pair}/{row}" for pair in TEACHERS for row in need_maps]
    assert all("maps of the student: " in reason for reason in reasons.values())

    results = workspace / "results"
    table = kdbench("--workspace", workspace, "leaderboard", study, "--results", results)
    assert table.code == 0, table.err
    board = pd.read_csv(results / "tiny" / "leaderboard.csv").set_index(["pair", "method"])
    parameters = 3 * 8 * (96 + 8 + 2) + 8 * 10 + 10
    for pair in TEACHERS:
        measured = board.loc[pair]
        assert measured.loc[["teacher", "student", "kd"], "acc1"].between(0, 100).all()
        assert measured.loc[["student", "kd"], "params"].tolist() == [parameters] * 2
        assert (measured["n"] == 0).tolist() == [row in need_maps for row in measured.index]
        for row in need_maps:
            assert measured.loc[row, "note"] == f"not applicable: {reasons[f'{pair}/{row}']}"
