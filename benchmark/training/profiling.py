"""Measures the costs of a trained network: size, compute, latency and memory.

Latency and memory depend on the machine.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import Tensor

from benchmark.measures import BATCH, BY_COLUMN
from benchmark.models.deployed import Evaluated
from methods import Needs

WARM_UPS = 5
WARM_UP_SECONDS = 0.5
"""The warm-up ends after `WARM_UPS` passes or `WARM_UP_SECONDS`, whichever comes first."""

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
    mode = model.training

    model.eval()
    with torch.no_grad():
        _time_passes(model, inputs, 1, WARM_UPS, WARM_UP_SECONDS)
        times = _time_passes(model, inputs, LEAST, MOST, SECONDS)
    model.train(mode)

    return 1000 * statistics.median(times)


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process so far, in MiB.

    On a GPU, this is the memory of the process's tensors on that GPU; otherwise, it is the resident
    memory of the process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20

    import resource

    # ru_maxrss is in bytes on macOS and in KiB on Linux.
    units = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units


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
