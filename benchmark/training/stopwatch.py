"""Time on a device, measured without waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Sums up the time that a device spends on pieces of work, without waiting for a GPU between them."""

    def __init__(self, device: torch.device):
        self.device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what happens inside."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._events.append((begin, end))

    def read(self) -> float:
        """Seconds since the last reading; waits for the GPU."""
        if self._events:
            torch.cuda.synchronize(self.device)
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        seconds, self._seconds, self._events = self._seconds, 0.0, []
        return seconds
