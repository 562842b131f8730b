"""A dry run of a search: its trials, cohorts and cost, without training."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution.estimate import estimate
from benchmark.execution.teacher_store import TeacherStore
from benchmark.records.layout import Workspace
from benchmark.search.search_plan import search_plan
from tests.execution.helpers import prepared
from tests.search.helpers import searched, searching
from tests.support.commandline import kdbench
from tests.support.studies import write_study

pytestmark = [pytest.mark.trains]

SMALL = {"trials": 2, "seeds": [100], "together": 2}


def planned(content, workspace, size=None):
    study = prepared(content, workspace)
    files = Workspace(workspace)
    store = TeacherStore(files)
    cards = [store.card(teacher.key) for teacher in study.teachers]
    hashes = {card.key: card.sha256 for card in cards if card is not None}
    assert study.study.search is not None
    folder = files.study("tiny").search
    return study, search_plan(study, study.study.search, hashes, folder, size, 1)


@pytest.mark.parametrize(("size", "sizes"), [(None, [4] * 4), (3, [3, 1] * 4)])
def test_every_round_and_seed_has_cohorts_of_all_rows(
    size: int | None, sizes: list[int], workspace: Path
) -> None:
    _, plan = planned(searched(), workspace, size)
    assert [len(cohort) for cohort in plan.cohorts] == sizes
    assert [cohort[0].seed for cohort in plan.cohorts][:: len(sizes) // 4] == [100, 101, 100, 101]
    assert [(own.row, own.ended) for own in plan.searches] == [("kd", 0), ("kd+at", 0)]
    assert "kd.temperature" in plan.searches[1].settings


def test_the_compute_of_a_search_is_that_of_its_plan_for_any_size_of_cohorts(
    workspace: Path,
) -> None:
    content = searched(["kd"], search=SMALL)
    study, plan = planned(content, workspace, 1)
    one_by_one = searching(workspace, content, cohort_size=1)
    assert one_by_one.tmac == pytest.approx(one_by_one.alone)
    assert one_by_one.tmac == pytest.approx(estimate(study, plan.cohorts, []).tmac)

    study, plan = planned(content, Path("nowhere"))
    together = searching(workspace, content)
    assert together.tmac == pytest.approx(estimate(study, plan.cohorts, []).tmac)
    assert together.tmac < together.alone == pytest.approx(one_by_one.alone)

    _, rest = planned(content, workspace)
    assert rest.cohorts == []
    assert [own.ended for own in rest.searches] == [2]


def test_a_dry_run_prints_trials_cohorts_and_cost_and_writes_nothing(
    workspace: Path, tmp_path: Path
) -> None:
    file = write_study(tmp_path / "study.yaml", searched())
    found = kdbench("--workspace", workspace, "tune", file, "--dry-run", "--device", "cpu")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0].split() == ["pair", "method", "trials", "done", "searched", "settings"]
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["pair", "kd", "0/4"],
        ["pair", "kd+at", "0/4"],
    ]
    assert lines[3] == "8 trials to run, each with 2 seeds, in 4 cohorts"
    assert lines[-1].startswith("cost: ")
    assert not list(workspace.glob("*/search"))

    without = write_study(tmp_path / "without.yaml", {**searched(), "search": None})
    found = kdbench("--workspace", workspace, "tune", without, "--dry-run", "--device", "cpu")
    assert found.code == 2
    assert found.err.startswith(f"kdbench: {without}: search: missing; ")
