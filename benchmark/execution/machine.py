"""The devices and threads that workers get."""

from __future__ import annotations

import os

import torch


def devices(name: str) -> list[str]:
    """Return the devices that workers take in turn: all GPUs if no particular one is named."""
    if name != "cuda":
        return [name]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def use_threads(count: int | None, device: torch.device, workers: int) -> None:
    """Set the number of threads with which networks compute, which affects the last bits.

    Args:
        count: The number; None for the default: one if several workers share a CPU, because two
            workers of one thread do more than one of two; otherwise that of PyTorch.
        device: The device.
        workers: Number of workers.
    """
    is_shared = workers > 1 and device.type == "cpu"
    if count is None and is_shared and "OMP_NUM_THREADS" not in os.environ:
        count = 1
    if count is not None:
        torch.set_num_threads(count)
