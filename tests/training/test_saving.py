"""Members are saved inside an epoch when that is due, and billed for their own teacher's work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.training import saving
from benchmark.training.saving import Saver, TeacherClock
from benchmark.training.stopwatch import TeacherTime

STEPS = 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, in minutes, which the test sets."""
    time = SimpleNamespace(minutes=0.0)
    monkeypatch.setattr(saving.time, "monotonic", lambda: 60 * time.minutes)  # type: ignore[attr-defined]
    return time


def member() -> Any:
    stage = SimpleNamespace(completes_update=lambda step: True)
    return SimpleNamespace(state=SimpleNamespace(stage=stage))


class Watch:
    """A stopwatch that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def read(self) -> float:
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def test_no_member_is_saved_inside_an_epoch_soon_after_all_were_saved_at_the_end_of_another(
    clock: SimpleNamespace,
) -> None:
    conditions: Any = SimpleNamespace(checkpoint_minutes=5, steps=STEPS)
    saver, members = Saver(conditions), [member(), member()]

    clock.minutes = 4
    assert saver.due(members, 0) == []
    clock.minutes = 7
    assert saver.due(members, STEPS - 1) == []  # the end of the epoch saves them
    saver.all_saved()

    clock.minutes = 8
    assert saver.due(members, 0) == []
    clock.minutes = 12
    assert saver.due(members, 1) == members


def test_a_member_that_joins_later_is_not_billed_for_what_the_teacher_did_before() -> None:
    watch: Any = Watch()
    clock, early, late = TeacherClock(watch), member(), member()

    clock.enter(early)
    watch.seconds += 3.0
    clock.enter(early)
    clock.enter(late)
    watch.seconds += 1.0
    assert (clock.since(late).seconds, clock.since(early).seconds) == (1.0, 4.0)

    watch.seconds += 2.0
    clock.enter(late)
    assert (clock.since(early).seconds, clock.since(late).seconds) == (2.0, 2.0)


def test_members_share_what_each_would_have_spent_on_the_teacher_alone() -> None:
    watch: Any = Watch()
    clock, members = TeacherClock(watch), [member() for _ in range(4)]
    for one in members:
        clock.enter(one)

    watch.seconds += 8.0
    clock.passed(members)
    spent = [clock.since(one) for one in members]
    assert sum(time.seconds for time in spent) - sum(time.saved for time in spent) == 8.0
    assert spent[0] == TeacherTime(8.0, 6.0)

    watch.seconds += 8.0
    clock.passed(members[:1])
    clock.passed(members[:2])
    assert clock.since(members[0]) == TeacherTime(8.0, 2.0)
    assert clock.since(members[3]) == TeacherTime(8.0, 0.0)
