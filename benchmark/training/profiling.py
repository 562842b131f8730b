"""Measures the costs of a trained network: size, compute, latency and memory.

Latency and memory depend on the machine.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmark.measures import BATCH, BY_COLUMN
from benchmark.models.deployed import Evaluated
from benchmark.models.inference import count_macs, evaluating
from methods import Needs

WARM_UPS = 5
WARM_UP_SECONDS = 0.5
"""The warm-up ends after `WARM_UPS` passes or `WARM_UP_SECONDS`, whichever comes first."""

EVALUATED = 512
"""Images in a batch of an evaluation."""

LEAST, MOST = 5, 30
SECONDS = 2.0
"""Timing ends after `MOST` passes, or after `SECONDS` if at least `LEAST` passes have run."""


def costs(model: Evaluated) -> dict[str, float]:
    """Return the costs of a network, by metric key."""
    values = {
        "peak_memory_mb": peak_memory(model.device),
        "params": float(model.parameter_count()),
        "macs": float(model.macs()),
        "latency_ms": latency(model, 1),
        f"latency_batch{BATCH}_ms": latency(model, BATCH),
    }

    return {BY_COLUMN[column].key: value for column, value in values.items()}


def latency(model: Evaluated, batch_size: int) -> float:
    """Return the median time of a forward pass, in milliseconds.

    The passes run in eval mode and float32, on the model's device, after a warm-up.
    """
    inputs = model.example(batch_size)
    with evaluating(model):
        _time_passes(model, inputs, 1, WARM_UPS, WARM_UP_SECONDS)
        times = _time_passes(model, inputs, LEAST, MOST, SECONDS)

    return 1000 * statistics.median(times)


def duration(model: Evaluated) -> float:
    """Return about how many seconds `costs` takes, from two passes of each size."""
    started = time.perf_counter()
    count_macs(model, model.example(1), Needs())
    seconds = time.perf_counter() - started

    for batch_size in (1, BATCH):
        single = _seconds_of_pass(model, batch_size)
        warm_ups = _passes(single, 1, WARM_UPS, WARM_UP_SECONDS)
        seconds += single * (warm_ups + _passes(single, LEAST, MOST, SECONDS))
    return seconds


def seconds_per_image(model: Evaluated) -> float:
    """Return the time in which an image is evaluated, from two batches.

    A CPU takes about as long per image in a small batch as in a large one.
    """
    count = EVALUATED if model.device.type == "cuda" else BATCH
    return _seconds_of_pass(model, count) / count


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` begin anew, where the operating system allows it (Linux does)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process so far, or since `forget_peak`, in MiB.

    On a GPU, this is the memory of the process's tensors on that GPU; otherwise, it is the resident
    memory of the process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20

    import resource

    # ru_maxrss is in bytes on macOS and in KiB on Linux.
    units = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units


def _seconds_of_pass(model: Evaluated, batch_size: int) -> float:
    """Return the time of the faster of two forward passes."""
    with evaluating(model):
        return min(_time_passes(model, model.example(batch_size), 2, 2, 0.0))


def _passes(single: float, least: int, most: int, seconds: float) -> int:
    """Return how many passes `_time_passes` makes if one takes `single` seconds."""
    return max(least, min(most, math.ceil(seconds / max(single, 1e-9))))


def _time_passes(
    model: Evaluated, images: Tensor, least: int, most: int, seconds: float
) -> list[float]:
    """Return the times of forward passes, in seconds."""
    times: list[float] = []
    while len(times) < least or (len(times) < most and sum(times) < seconds):
        started = time.perf_counter()
        model(images, Needs())
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - started)

    return times
