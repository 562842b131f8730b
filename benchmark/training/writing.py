"""Writes what the members of a cohort have saved, in a thread of its own, while they train on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training.isolation import Isolable, isolated

LAST_SECONDS = 2.0
"""Time for what is not yet written when an error or a signal ends the training."""


@dataclass(frozen=True)
class _Job:
    """Files of a member that are being written.

    Attributes:
        member: The member.
        written: Done when the files are on the disk.
        report: Reports them.
    """

    member: Isolable
    written: Future[None]
    report: Callable[[], None]


class Writer:
    """Writes files one after another, and reports each in the order in which they were submitted.

    Only the writing is done in the other thread. Reports are made, and errors of the writing are
    raised, in the thread that uses the writer, and each of them concerns the member whose files
    they are of. A member submits nothing before its last files are reported, so that at most one
    copy of its state is in memory.
    """

    def __init__(self, heart: Heartbeat | None = None):
        """Create a writer, whose thread starts with the first files.

        Args:
            heart: Receives that the training waits for the writing.
        """
        self._heart = heart or Heartbeat()
        self._thread = ThreadPoolExecutor(1, "writer")
        self._jobs: deque[_Job] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the writing; after an error, without reports.

        What has not begun `LAST_SECONDS` after an error is not written.
        """
        try:
            if error is None:
                self.settle()
        finally:
            try:
                wait([job.written for job in self._jobs], LAST_SECONDS)
            finally:
                self._thread.shutdown(cancel_futures=True)

    def submit(
        self, member: Isolable, write: Callable[[], None], report: Callable[[], None]
    ) -> None:
        """Write files while the training goes on.

        Args:
            member: The member to which they belong.
            write: Writes them.
            report: Called later by `report` or `settle`, if they were written without an error.
        """
        self._jobs.append(_Job(member, self._thread.submit(write), report))

    def report(self) -> None:
        """Report what is written by now."""
        while self._jobs and self._jobs[0].written.done():
            self._report_next()

    def settle(self) -> None:
        """Report everything, and wait until it is written."""
        if self._jobs and not self._jobs[-1].written.done():
            self._heart.beat(heartbeat.WRITING)

        while self._jobs:
            self._report_next()

    def _report_next(self) -> None:
        job = self._jobs.popleft()
        with isolated(job.member):
            job.written.result()
            job.report()
