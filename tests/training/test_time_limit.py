"""A training that exceeds `max_hours` ends with its epoch, and is evaluated as if complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmark.measures import BY_COLUMN
from benchmark.training import stopwatch
from tests.support.studies import Interrupt, bits, folders, metrics, plan, records, run, tiny
from tests.training.rows import row

pytestmark = pytest.mark.trains

SECONDS = 60.0
"""What each stopwatch says of an epoch: of a member's steps, and of the teacher's passes."""

COMPUTE = BY_COLUMN["compute_tmac"].key


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch take a minute."""
    ran: set[int] = set()

    @contextmanager
    def running(watch: stopwatch.Stopwatch) -> Iterator[None]:
        ran.add(id(watch))
        yield

    def read(watch: stopwatch.Stopwatch) -> float:
        seconds = SECONDS if id(watch) in ran else 0.0
        ran.discard(id(watch))
        return seconds

    monkeypatch.setattr(stopwatch.Stopwatch, "running", running)
    monkeypatch.setattr(stopwatch.Stopwatch, "read", read)


def limited(rows: list[str], minutes: float, **changes: Any) -> dict[str, Any]:
    """Return a study whose students train for four epochs, or until a time limit."""
    recipe = {"epochs": 4, "max_hours": minutes / 60}
    return tiny([row(name) for name in rows], recipe=recipe, **changes)


def epochs(folder: Path) -> int:
    return len(metrics(folder))


def test_a_cell_ends_with_the_epoch_that_exceeds_its_limit_and_is_tested(workspace: Path) -> None:
    assert not run(workspace, limited(["student", "kd"], minutes=2.5)).failed
    student, kd = folders(workspace)["student/0"], folders(workspace)["kd/0"]

    assert (epochs(student), epochs(kd)) == (3, 2)  # the teacher's minutes count for kd
    (trained,) = records(student, "trained")
    assert trained["epoch"] == 2
    assert trained["stopped"] == {"after": 3, "planned": 4}
    (final,) = metrics(student, "final")
    assert 0 <= final["test/acc1"] <= 100
    assert final["cost/train_seconds"] == 3 * SECONDS


def test_the_compute_of_a_cell_that_was_stopped_is_that_of_the_epochs_it_trained(
    workspace: Path, tmp_path: Path
) -> None:
    run(workspace, limited(["kd"], minutes=2.5))
    run(tmp_path / "whole", limited(["kd"], minutes=60))
    (stopped,) = metrics(folders(workspace)["kd/0"], "final")
    whole_folder = folders(tmp_path / "whole")["kd/0"]
    (whole,) = metrics(whole_folder, "final")
    assert stopped[COMPUTE] == pytest.approx(whole[COMPUTE] / 2)
    assert records(whole_folder, "trained")[0]["stopped"] is None


def test_a_limit_that_is_reached_but_not_exceeded_stops_nothing(workspace: Path) -> None:
    run(workspace, limited(["student"], minutes=4))
    folder = folders(workspace)["student/0"]
    assert epochs(folder) == 4
    assert records(folder, "trained")[0]["stopped"] is None


def test_a_cell_that_is_stopped_leaves_the_others_of_its_cohort_as_they_are(
    workspace: Path, tmp_path: Path
) -> None:
    study = limited(["kd", "student", "fitnet"], minutes=2.5)
    run(workspace, study)
    run(tmp_path / "apart", study, cohort_size=1)
    for name in ("kd/0", "student/0", "fitnet/0"):
        assert bits(folders(workspace)[name]) == bits(folders(tmp_path / "apart")[name])


@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_time_survives_a_resume(after: int, workspace: Path, tmp_path: Path) -> None:
    study = limited(["student"], minutes=2.5)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, study, Interrupt(after))
    run(workspace, study)
    run(tmp_path / "whole", study)
    folder = folders(workspace)["student/0"]
    assert epochs(folder) == 3
    assert bits(folder) == bits(folders(tmp_path / "whole")["student/0"])


def test_an_early_stage_is_never_cut_and_an_epoch_of_the_training_follows(workspace: Path) -> None:
    run(workspace, limited(["born_again"], minutes=0.5))
    folder = folders(workspace)["born_again/0"]
    assert len(records(folder, "early")) == 4
    assert epochs(folder) == 1
    assert records(folder, "trained")[0]["stopped"] == {"after": 1, "planned": 4}


def test_the_best_epoch_before_the_limit_is_selected(workspace: Path) -> None:
    run(workspace, limited(["student"], minutes=2.5, select="best_val"))
    folder = folders(workspace)["student/0"]
    accuracies = [epoch["val/acc1"] for epoch in metrics(folder)]
    (trained,) = records(folder, "trained")
    assert len(accuracies) == 3
    assert trained["epoch"] == accuracies.index(max(accuracies))


def test_the_plan_keeps_the_length_without_the_limit(workspace: Path) -> None:
    run(workspace, limited(["student"], minutes=2.5))
    (cell,) = plan(workspace)["cells"]
    assert cell["length"] == {"early": 0, "epochs": 4}
    assert cell["recipe"]["max_hours"] == 2.5 / 60
