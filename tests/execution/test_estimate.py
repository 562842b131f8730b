"""The cost of a run is what one would count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import Tensor, nn

from benchmark.execution import batch_clock, steps
from benchmark.execution.batch_clock import BatchClock
from benchmark.execution.estimate import Estimate, estimate
from benchmark.study.schema import Network
from tests.execution.helpers import pairs, prepared
from tests.support.networks import STUDENT, TEACHER
from tests.support.studies import folders, tiny


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the time of a batch known: 1 s for a teacher's pass, 10 s and 100 s for training."""

    def seconds(clock: BatchClock, network: Network, macs: int, *, trains: bool) -> float:
        if network.model != TEACHER:
            return 100.0
        return 10.0 if trains else 1.0

    monkeypatch.setattr(BatchClock, "seconds", seconds)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_is_what_one_would_count_by_hand() -> None:
    study = prepared(tiny(["student", "kd", "at"], seeds=[0, 1]))
    teacher, student = study.macs["pair", "teacher"], study.macs["pair", "student"]
    samples, trainings = 2 * 3 * 16, 2 * 3  # epochs, batches and their size; seeds and rows
    own = trainings * 3 * student  # forward, and twice that backward

    cost = estimate(study, study.cohorts(study.cells, None), [])
    shared_passes, all_passes = 2 * teacher, 4 * teacher  # of each seed; of each kd and at
    assert cost.tmac == pytest.approx(samples * (own + shared_passes) / 1e12)
    assert cost.alone == pytest.approx(samples * (own + all_passes) / 1e12)
    assert cost.tmac < cost.alone
    assert cost.seconds == pytest.approx(2 * 3 * (trainings * 100 + 2 * 1))

    with_teacher = estimate(study, study.cohorts(study.cells, None), study.teachers)
    training = 1 * 3 * 16 * 3 * teacher / 1e12
    assert with_teacher.tmac - cost.tmac == pytest.approx(training)
    assert with_teacher.alone - cost.alone == pytest.approx(training)
    assert with_teacher.seconds - cost.seconds == pytest.approx(1 * 3 * 10)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_counts_every_pairs_own_student_and_a_shared_teacher_once() -> None:
    study = prepared(tiny(["kd"], pairs=pairs(one={}, two={})))
    first, second = study.macs["one", "student"], study.macs["two", "student"]
    teacher = study.macs["one", "teacher"]
    assert first != second

    cost = estimate(study, study.cohorts(study.cells, None), [])
    assert cost.tmac == pytest.approx(96 * (3 * (first + second) + teacher) / 1e12)
    assert cost.alone == pytest.approx(96 * (3 * (first + second) + 2 * teacher) / 1e12)
    single = estimate(study, study.cohorts(study.cells, 1), [])
    assert single.tmac == single.alone == pytest.approx(cost.alone)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_of_students_alone_has_no_teachers_pass() -> None:
    study = prepared(tiny(["student"]))
    cost = estimate(study, study.cohorts(study.cells, None), [])
    assert cost.tmac == cost.alone == pytest.approx(96 * 3 * study.macs["pair", "student"] / 1e12)
    assert cost.seconds == pytest.approx(2 * 3 * 100)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_counts_every_row_with_its_own_recipe() -> None:
    rows = [
        "kd",
        {"name": "long", "method": "kd", "recipe": {"epochs": 5}},
        {"name": "big", "method": "kd", "recipe": {"batch_size": 24}},
    ]
    study = prepared(tiny(rows))
    teacher, student = study.macs["pair", "teacher"], study.macs["pair", "student"]
    trainings = 48 * (2 + 5 + 2)  # images of an epoch, and epochs

    cost = estimate(study, study.cohorts(study.cells, None), [])
    own = trainings * 3 * student
    assert cost.alone == pytest.approx((own + trainings * teacher) / 1e12)
    assert cost.tmac == pytest.approx((own + 48 * (5 + 2) * teacher) / 1e12)
    batches = 3 * (2 + 5 + 2)
    assert cost.seconds == pytest.approx(batches * 100 + 3 * (5 + 2) * 1)


def test_the_time_of_a_batch_is_measured_once_for_each_distinct_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time per image of a part of a batch is extrapolated to the whole batch."""
    timed: list[tuple[int, bool]] = []

    def fastest(model: nn.Module, images: Tensor, *, trains: bool) -> float:
        timed.append((len(images), trains))
        return 0.5 * len(images)

    monkeypatch.setattr(batch_clock, "_fastest", fastest)
    study = prepared(tiny())
    clock = BatchClock(study.data, 64)
    network, macs = Network(model=STUDENT), int(batch_clock.SAMPLE_MACS / 16)

    assert clock.seconds(network, macs, trains=True) == 32.0
    assert clock.seconds(Network(model=STUDENT), macs, trains=True) == 32.0
    assert timed == [(16, True)]
    assert clock.seconds(network, macs, trains=False) == pytest.approx(32.0 / 3)
    assert clock.seconds(Network(model=TEACHER), 10 * macs, trains=False) == 32.0
    assert timed[1:] == [(batch_clock.FEWEST_IMAGES, False)]

    other = BatchClock(study.data, 64)
    assert other.seconds(Network(model=TEACHER), 1, trains=False) == 32.0
    assert timed[2:] == [(64, False)]


def test_a_batch_takes_time() -> None:
    study = prepared(tiny())
    clock = BatchClock(study.data, 16)
    assert clock.seconds(Network(model=STUDENT), 1, trains=True) > 0


@pytest.mark.usefixtures("clocked")
def test_a_slow_estimate_tells_what_it_is_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "QUIET_SECONDS", 0)
    study = prepared(tiny(["student", "kd"], seeds=[0, 1]))
    lines: list[str] = []
    estimate(study, study.cohorts(study.cells, None), study.teachers, lines.append)
    assert lines == [
        "timing teacher 1 of 1",
        "estimating cohort 1 of 2",
        "estimating cohort 2 of 2",
    ]


@pytest.mark.usefixtures("clocked")
def test_an_estimate_of_nothing_is_nothing() -> None:
    assert estimate(prepared(tiny()), [], []) == Estimate(0, 0, 0)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_agrees_with_what_the_cells_record(ran: Path) -> None:
    study = prepared(tiny())
    recorded = [
        json.loads((folder / "done.json").read_text())["metrics"]["cost/compute_tmac"]
        for folder in folders(ran).values()
    ]
    cost = estimate(study, study.cohorts(study.cells, None), [])
    assert cost.alone == pytest.approx(sum(recorded))
