"""Measures the time of work on a device, and waits for the device only to read the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TeacherTime:
    """Time of the teacher's forward passes for a member.

    Attributes:
        seconds: Time of the passes.
        saved: The part of it that other members paid, because they shared the passes; the parts of
            all members add up to what the cohort saved.
    """

    seconds: float = 0.0
    saved: float = 0.0


class Stopwatch:
    """Adds up the time of work on a device.

    On a GPU, events are queued with the work and read later, so that `running` never blocks.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the work inside a `with` block."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return

        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)

        begin.record()
        yield
        end.record()
        self._events.append((begin, end))

    def read(self) -> float:
        """Return the seconds measured since the last call; on a GPU, wait for its work first."""
        if self._events:
            torch.cuda.synchronize(self.device)
            milliseconds = sum(begin.elapsed_time(end) for begin, end in self._events)
            self._seconds += milliseconds / 1000

        seconds = self._seconds
        self._seconds = 0.0
        self._events = []
        return seconds
