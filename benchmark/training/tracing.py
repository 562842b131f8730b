"""Traces a few steps of a cohort with PyTorch's profiler, and sums up each member's operators."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from benchmark.errors import InputError
from benchmark.files import write_atomically, write_error

STEPS = 3
"""Steps that are traced, after a warm-up step."""

LISTED = 10
"""Operators that are listed for each member."""

LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
"""Beginnings of the names of CUDA's functions that queue work on a GPU."""

TEACHER = "teacher"
"""Name of the teacher's passes in a trace."""


class Tracer:
    """Receives the parts of a cohort's steps. The base class traces nothing, at no cost."""

    def epoch(self, epoch: int) -> AbstractContextManager[None]:
        """Return a context for an epoch.

        Args:
            epoch: The epoch, negative in the early stage.
        """
        return nullcontext()

    def part(self, name: str) -> AbstractContextManager[Any]:
        """Return a context for a part of a step.

        Args:
            name: The member's label, or `TEACHER`.
        """
        return nullcontext()

    def end_step(self) -> None:
        """Note that all members have taken a step."""


class FileTracer(Tracer):
    """Writes a trace of the first epoch of the main training in this process, and a summary.

    The trace, `<name>.json.gz`, can be opened in Perfetto or Chrome. The summary, `<name>.txt`,
    lists the most expensive operators of each member and of the teacher.
    """

    def __init__(self, folder: Path, name: str, device: torch.device, warn: Callable[[str], None]):
        """Prepare a trace.

        Args:
            folder: Folder of the two files.
            name: Their name.
            device: Device of the training.
            warn: Receives a line if they cannot be written.
        """
        self._folder = folder
        self._warn = warn
        self._name = name
        self._on_gpu = device.type == "cuda"
        self._profile: profile | None = None
        self._parts: list[str] = []
        self._is_done = False

    @contextmanager
    def epoch(self, epoch: int) -> Iterator[None]:
        """Trace the epoch if it is the first one of the main training."""
        if epoch < 0 or self._is_done:
            yield
            return

        self._is_done = True
        activities = [ProfilerActivity.CPU]
        if self._on_gpu:
            activities.append(ProfilerActivity.CUDA)
        steps = schedule(wait=0, warmup=1, active=STEPS, repeat=1)
        with profile(activities=activities, schedule=steps, on_trace_ready=self._write) as running:
            self._profile = running
            yield
        self._profile = None

    def part(self, name: str) -> AbstractContextManager[Any]:
        """Name what happens in a block."""
        if self._profile is None:
            return nullcontext()
        if name not in self._parts:
            self._parts.append(name)
        return record_function(name)

    def end_step(self) -> None:
        """Go on to the next step."""
        if self._profile is not None:
            self._profile.step()

    def _write(self, traced: profile) -> None:
        """Write both files, or warn if they cannot be written: no training ends for a trace."""
        trace = self._folder / f"{self._name}.json.gz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            traced.export_chrome_trace(str(trace))
            sums = sum_up(traced.events() or [], self._parts, on_gpu=self._on_gpu)
            content = "\n".join(_paragraph(part) for part in sums)
            write_atomically(self._folder / f"{self._name}.txt", content.encode())
        except OSError as error:
            self._warn(f"no trace: {write_error(trace, error)}")
        except InputError as error:
            self._warn(f"no trace: {error}")


@dataclass
class Sum:
    """The operators of one part of all traced steps.

    Attributes:
        name: Name of the part.
        steps: Number of traced steps in which it occurs.
        microseconds: Time of each operator, without the operators that it calls.
        calls: How often each operator was called.
    """

    name: str
    steps: int = 0
    microseconds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def launches(self) -> float:
        """How often a step queues work on a GPU, such as a kernel or a graph of kernels."""
        names = [name for name in self.calls if name.startswith(LAUNCHES)]
        return sum(self.calls[name] for name in names) / self.steps

    @property
    def operators(self) -> float:
        """How many operators a step calls, including those that other operators call."""
        names = [name for name in self.calls if "::" in name and not name.startswith("autograd::")]
        return sum(self.calls[name] for name in names) / self.steps


def sum_up(events: Iterable[Any], parts: Iterable[str], *, on_gpu: bool) -> list[Sum]:
    """Sum up the times of the operators in each part of the steps, most expensive part first.

    An operator belongs to the part during which it began, in whatever thread: on a GPU, autograd
    has a thread of its own.

    Args:
        events: What the profiler recorded.
        parts: Names of the parts.
        on_gpu: Whether the time on the GPU counts; otherwise, it is that on the CPU.
    """
    sums = {name: Sum(name) for name in parts}
    on_cpu = [event for event in events if event.device_type.name == "CPU"]
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in on_cpu
        if event.name in sums
    )
    starts = [start for start, _, _ in spans]
    for _, _, name in spans:
        sums[name].steps += 1

    for event in on_cpu:
        at = bisect_right(starts, event.time_range.start) - 1
        if event.name in sums or at < 0 or event.time_range.start > spans[at][1]:
            continue
        own = sums[spans[at][2]]
        time = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        own.microseconds[event.name] += time
        own.calls[event.name] += 1

    found = [own for own in sums.values() if own.steps]
    return sorted(found, key=lambda own: -own.microseconds.total() / own.steps)


def _paragraph(own: Sum) -> str:
    """Return the most expensive operators of a part, one a line."""
    total = own.microseconds.total()
    counts = f"{own.operators:,.5g} operators"
    if own.launches:
        counts += f" and {own.launches:,.5g} launches on the GPU"
    lines = [f"{own.name}: {total / own.steps / 1000:.3g} ms, {counts} per step"]
    for name, time in own.microseconds.most_common(LISTED):
        calls = own.calls[name] / own.steps
        share = 100 * time / max(total, 1e-9)
        lines.append(f"  {time / own.steps / 1000:8.3f} ms {share:4.0f} %  {name}, {calls:.3g} x")
    return "\n".join(lines) + "\n"
