"""How many workers a machine can have, and what each of them gets."""

from __future__ import annotations

import os
from pathlib import Path

import torch

MEMORY = 2 * 2**30
"""Memory for a worker that trains small networks, in bytes: PyTorch, data and a cohort."""


def devices(name: str) -> list[str]:
    """Return the devices that workers take in turn: all GPUs if no particular one is named."""
    if name != "cuda":
        return [name]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def worker_count(device: str) -> int:
    """Return the number of workers for a device, by default: one for each GPU.

    On a CPU, each worker has the threads of this process, and there are as many workers as the
    cores and the memory that is free suffice for.

    Args:
        device: Name of the device; `cuda` stands for all GPUs.
    """
    if device != "cpu":
        return len(devices(device))

    by_cores = cores() // torch.get_num_threads()
    free = _free_memory()
    by_memory = by_cores if free is None else free // MEMORY
    return max(1, min(by_cores, by_memory))


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_threads(count: int | None, device: torch.device, *, shared: bool) -> None:
    """Set the number of threads with which networks compute; the last bits depend on it.

    Args:
        count: The number; None for the default: one on a CPU that workers share, because two
            workers of one thread do more than one of two; otherwise that of PyTorch.
        device: The device.
        shared: Whether there may be several workers.
    """
    if count is None and shared and device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        count = 1
    if count is not None:
        torch.set_num_threads(count)


def _free_memory() -> int | None:
    """Return the memory that new processes can use, in bytes; None if that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None

    sizes = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((1024 * int(size) for size in sizes), None)
