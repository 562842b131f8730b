"""Streams of the pretended GPU, and the order that they promise.

Operations are computed at once, in the order of the program. A real GPU promises less: operations
on two streams may run in any order unless an event or the host stands between them. Every stream
therefore keeps what is known to have happened before its next operation (a vector clock), and a
memory that is written or read without such knowledge is a race.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.pretended.call import Call
from tests.support.pretended.device import DeviceTensor

Clock = dict[int, int]
"""The number of operations that are known to be over, by the stream's number."""


class RaceError(RuntimeError):
    """Two operations may run in the wrong order on a real GPU."""


@dataclass
class _Memory:
    """The last write of a tensor's memory, and the reads since then: (stream, operation)."""

    write: tuple[int, int]
    reads: set[tuple[int, int]] = field(default_factory=set)


class Streams:
    """All streams, and what each knows of the others."""

    def __init__(self) -> None:
        self.main = Stream(self)
        self.current = self.main
        self._host: Clock = {}
        self._memory: dict[int, _Memory] = {}
        self._all: list[Stream] = [self.main]

    def join(self, stream: Stream) -> int:
        """Number a new stream, which begins after all that the program has asked of the host."""
        self._all.append(stream)
        return len(self._all)

    def wait_for(self, *streams: Stream) -> None:
        """Let the host wait for streams; for all if there are none."""
        for stream in streams or self._all:
            _learn(self._host, stream.clock)

    def check(self, call: Call, results: Iterable[DeviceTensor]) -> None:
        """Note an operation on the current stream.

        Args:
            call: The operation.
            results: The tensors with memory of their own that it has made.

        Raises:
            RaceError: It may run too early or too late.
        """
        stream = self.current
        _learn(stream.clock, self._host)
        now = stream.tick()

        written = {_address(value) for value in _tensors(call.written())}
        for address in {_address(value) for value in call.on_device} - {0}:
            memory = self._memory.setdefault(address, _Memory(now))
            before = {memory.write, *(memory.reads if address in written else ())}
            for number, operation in before - {now}:
                if stream.clock.get(number, 0) < operation:
                    raise RaceError(f"{call.name} on a stream that did not wait for another")
            if address in written:
                self._memory[address] = _Memory(now)
            else:
                memory.reads.add(now)

        for result in results:
            self._memory[_address(result)] = _Memory(now)


class Stream:
    """Stands for a CUDA stream.

    Attributes:
        clock: What is known to be over before the next operation of the stream.
    """

    def __init__(self, streams: Streams):
        self._streams = streams
        self.clock: Clock = {}
        self._number = 0 if not hasattr(streams, "main") else streams.join(self)

    def tick(self) -> tuple[int, int]:
        """Begin an operation, and return its number after that of the stream."""
        count = self.clock.get(self._number, 0) + 1
        self.clock[self._number] = count
        return self._number, count

    def wait_stream(self, other: Stream) -> None:
        """Wait for all operations of another stream so far."""
        _learn(self.clock, other.clock)

    def wait_event(self, event: Event) -> None:
        """Wait for an event."""
        _learn(self.clock, event.clock)

    def record_event(self) -> Event:
        """Return an event after all operations so far."""
        return Event(self._streams, at=self)

    def synchronize(self) -> None:
        """Let the host wait for the stream."""
        self._streams.wait_for(self)


class Event:
    """Stands for a CUDA event, whose time is that of the host.

    Attributes:
        clock: What the stream knew when the event was recorded.
    """

    def __init__(self, streams: Streams, at: Stream | None = None, **_: Any):
        self._streams = streams
        self._time = 0.0
        self.clock: Clock = {}
        if at is not None:
            self.record(at)

    def record(self, stream: Stream | None = None) -> None:
        """Note the time, and what a stream knows; the current one if there is none."""
        self._time = time.perf_counter()
        self.clock = dict((stream or self._streams.current).clock)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for the event; the current one if there is none."""
        (stream or self._streams.current).wait_event(self)

    def elapsed_time(self, later: Event) -> float:
        """Return the milliseconds to another event."""
        return 1000 * (later._time - self._time)


@contextmanager
def entered(streams: Streams, stream: Stream) -> Iterator[None]:
    """Make a stream the current one in a block, as `torch.cuda.stream` does."""
    before, streams.current = streams.current, stream
    try:
        yield
    finally:
        streams.current = before


def _learn(clock: Clock, other: Clock) -> None:
    for number, count in other.items():
        clock[number] = max(clock.get(number, 0), count)


def _address(tensor: DeviceTensor) -> int:
    return tensor.numbers.untyped_storage().data_ptr()


def _tensors(values: Iterable[Any]) -> Iterator[DeviceTensor]:
    for value in values:
        if isinstance(value, DeviceTensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
