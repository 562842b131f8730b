"""Files are written in another thread, and everything else about them happens in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from benchmark.errors import DamageError, InputError, LeaveCohort
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training import writing
from benchmark.training.writing import Writer


class Member:
    """Notes what it is told."""

    def __init__(self, notes: list[str], name: str):
        self.notes = notes
        self.name = name

    def fail(self, error: BaseException) -> None:
        self.notes.append(f"{self.name} fails: {error}")

    def leave(self) -> None:
        self.notes.append(f"{self.name} leaves")


class Cohort:
    """Members whose files are notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.heart = Beats()
        self.writer = Writer(self.heart)

    def submit(
        self, name: str, error: BaseException | None = None, event: BaseException | None = None
    ) -> None:
        """Let a member submit files, whose writing or report may raise an error."""
        write = raising(error, self.notes, f"{name} is written")
        report = raising(event, self.notes, f"{name} is reported")
        self.writer.submit(Member(self.notes, name), write, report)


class Beats(Heartbeat):
    """Keeps what is turned to."""

    def __init__(self) -> None:
        self.activities: list[str] = []

    def beat(self, activity: str, *_: object) -> None:
        self.activities.append(activity)


def raising(error: BaseException | None, notes: list[str], note: str) -> Callable[[], None]:
    """Return a function that leaves a note, or raises an error."""

    def run() -> None:
        if error is not None:
            raise error
        notes.append(note)

    return run


@pytest.fixture
def cohort() -> Cohort:
    return Cohort()


def test_files_are_written_and_reported_in_order(cohort: Cohort) -> None:
    with cohort.writer:
        for name in "abc":
            cohort.submit(name)
        cohort.writer.settle()
    for event in ("written", "reported"):
        notes = [note for note in cohort.notes if note.endswith(event)]
        assert notes == [f"{name} is {event}" for name in "abc"]


def test_files_are_written_by_another_thread_and_reported_by_the_one_that_submitted_them() -> None:
    threads: list[int] = []
    with Writer() as writer:
        writer.submit(Member([], "a"), *[lambda: threads.append(threading.get_ident())] * 2)
    written, reported = threads
    assert (written != reported, reported) == (True, threading.get_ident())


def test_only_what_is_written_is_reported_without_waiting(cohort: Cohort) -> None:
    goes_on = threading.Event()
    with cohort.writer as writer:
        writer.submit(Member(cohort.notes, "a"), lambda: _wait(goes_on), lambda: None)
        cohort.submit("b")
        writer.report()
        assert (cohort.notes, cohort.heart.activities) == ([], [])

        goes_on.set()
        writer.settle()
    assert cohort.notes == ["b is written", "b is reported"]


def _wait(event: threading.Event) -> None:
    event.wait(60)


def test_waiting_for_the_disk_is_a_heartbeat_of_no_cell(cohort: Cohort) -> None:
    with cohort.writer as writer:
        writer.submit(Member([], "a"), lambda: time.sleep(0.2), lambda: None)
        writer.settle()
        writer.settle()
    assert cohort.heart.activities == [heartbeat.WRITING]


@pytest.mark.parametrize("error", [ValueError("broken"), DamageError("broken"), SystemExit(3)])
def test_an_error_of_the_writing_or_the_report_fails_its_member_alone(
    cohort: Cohort, error: BaseException
) -> None:
    with cohort.writer:
        cohort.submit("a", error=error)
        cohort.submit("b", event=error)
        cohort.submit("c")
    assert [note for note in cohort.notes if not note.endswith("written")] == [
        f"a fails: {error}",
        f"b fails: {error}",
        "c is reported",
    ]


def test_a_listener_that_removes_a_member_removes_the_one_that_it_heard_of(cohort: Cohort) -> None:
    with cohort.writer:
        cohort.submit("a")
        cohort.submit("b", event=LeaveCohort("pruned"))
    assert [note for note in cohort.notes if not note.endswith("written")] == [
        "a is reported",
        "b leaves",
    ]


@pytest.mark.parametrize("error", [InputError("the disk is full"), KeyboardInterrupt()])
def test_an_error_that_concerns_all_is_raised_and_what_was_submitted_is_written(
    cohort: Cohort, error: BaseException
) -> None:
    cohort.submit("a", error=error)
    cohort.submit("b")
    with pytest.raises(type(error)), cohort.writer:
        cohort.writer.settle()
    assert cohort.notes == ["b is written"]


def test_after_an_error_the_time_for_writing_is_limited_and_files_that_were_begun_are_whole(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LAST_SECONDS", 0.1)
    begun = threading.Event()

    def write() -> None:
        begun.set()
        time.sleep(0.5)
        cohort.notes.append("a is written")

    cohort.writer.submit(Member(cohort.notes, "a"), write, lambda: None)
    cohort.submit("b")
    begun.wait(60)
    with pytest.raises(KeyboardInterrupt), cohort.writer:
        raise KeyboardInterrupt
    assert cohort.notes == ["a is written"]
