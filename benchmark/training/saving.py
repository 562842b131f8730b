"""Saves the members of a cohort inside an epoch, so that a crash does not cost all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from benchmark.training.conditions import Conditions
from benchmark.training.member import Member
from benchmark.training.stopwatch import Stopwatch, TeacherTime


class Saver:
    """Decides when the members of a cohort are saved inside an epoch.

    A member whose batches are accumulated is saved after its next update.
    """

    def __init__(self, conditions: Conditions):
        """Start the clock.

        Args:
            conditions: The conditions of the cohort.
        """
        minutes = conditions.checkpoint_minutes
        self._seconds = None if minutes is None else 60 * minutes
        self._last_step = conditions.steps - 1
        self._saved = time.monotonic()
        self._waiting: list[Member] = []

    def due(
        self,
        members: Sequence[Member],
        step: int,
        proves: Callable[[Member], bool] = lambda _: True,
    ) -> list[Member]:
        """Return the members to save now.

        Args:
            members: The members that have trained on the batch.
            step: Index of the batch in the epoch.
            proves: Returns whether the engine vouches for a member's state.
        """
        if self._seconds is None or step == self._last_step:
            self._waiting = []  # the end of the epoch saves everything
            return []

        now = time.monotonic()
        if now - self._saved >= self._seconds:
            self._saved = now
            self._waiting = list(members)

        ready = [
            member
            for member in self._waiting
            if member in members and member.state.stage.completes_update(step) and proves(member)
        ]
        self._waiting = [member for member in self._waiting if member not in ready]
        return ready

    def all_saved(self) -> None:
        """Note that all members have been saved, as at the end of an epoch."""
        self._saved = time.monotonic()


class TeacherClock:
    """Tells each member how long the teacher has worked for it since the member asked last."""

    def __init__(self, watch: Stopwatch):
        self._watch = watch
        self._total = 0.0
        self._asked: dict[int, float] = {}
        self._saved: dict[int, list[float]] = {}

    def enter(self, member: Member) -> None:
        """Count from now on for a member, unless it has entered before.

        The teacher may have worked for others that were saved earlier in the epoch.
        """
        if id(member) not in self._asked:
            self._asked[id(member)] = self._read()

    def passed(self, members: Sequence[Member]) -> None:
        """Note that the teacher has run once for some members, which share the time."""
        for member in members:
            self._saved.setdefault(id(member), []).append(1 - 1 / len(members))

    def since(self, member: Member) -> TeacherTime:
        """Return the time since the member asked last, or since it entered.

        On a GPU, wait for its work first.
        """
        total = self._read()
        seconds = total - self._asked.get(id(member), total)
        self._asked[id(member)] = total

        saved = self._saved.pop(id(member), [])
        return TeacherTime(seconds, seconds * sum(saved) / max(len(saved), 1))

    def _read(self) -> float:
        self._total += self._watch.read()
        return self._total
