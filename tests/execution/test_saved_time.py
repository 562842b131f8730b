"""A run tells what its cells saved by sharing the teacher's passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.studies import folders, metrics, run, tiny

pytestmark = pytest.mark.trains


def test_cells_that_share_a_teacher_save_what_all_but_one_of_them_would_have_spent(
    workspace: Path,
) -> None:
    summary = run(workspace, tiny(["student", "kd", "at"]))
    cells = folders(workspace)
    student, kd, at = (metrics(cells[f"{name}/0"]) for name in ("student", "kd", "at"))
    assert all("teacher_share" not in epoch for epoch in student)
    assert all(0 < epoch["teacher_share"] < 100 for epoch in (*kd, *at))

    saved = sum(epoch["teacher_saved_seconds"] for epoch in (*kd, *at))
    (final,) = metrics(cells["kd/0"], "final")
    assert saved == pytest.approx(final["cost/teacher_seconds"])
    assert summary.saved_seconds == pytest.approx(saved)

    finals = [metrics(cell, "final")[0] for cell in cells.values()]
    alone = sum(final["cost/train_seconds"] + final["cost/teacher_seconds"] for final in finals)
    assert summary.alone_seconds == pytest.approx(alone)


def test_a_cell_alone_saves_nothing(workspace: Path) -> None:
    assert run(workspace, tiny(["student", "kd"])).saved_seconds == 0
