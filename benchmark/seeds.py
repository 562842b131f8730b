"""Named random streams: adding a method, pair or evaluation does not change other streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *role: str | int) -> int:
    """Return the seed of a stream.

    Args:
        seed: Seed of the cell or study.
        role: Parts of the name of the stream, such as `"order", epoch`.

    Returns:
        A number from 0 to 2^63 - 1, the same on every machine.
    """
    text = "/".join(map(str, (seed, *role)))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *role: str | int) -> torch.Generator:
    """Return a CPU generator at the start of a stream."""
    return torch.Generator().manual_seed(derive(seed, *role))


def reseed(device: torch.device, seed: int, *role: str | int) -> None:
    """Set torch's global streams of the CPU and of a device to the start of a stream.

    `torch.manual_seed` seeds every backend of torch, which takes as long as some losses.

    Args:
        device: The device, on which no work is waited for.
        seed: Seed of the cell or study.
        role: Parts of the name of the stream; see `derive`.
    """
    number = derive(seed, *role)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)


def has_drawn(device: torch.device) -> bool:
    """Return whether random numbers were drawn on a GPU since it was seeded."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index].get_offset() > 0


@contextmanager
def seeded(seed: int, *role: str | int) -> Iterator[None]:
    """Use a stream as torch's global stream within a block, then restore the previous state."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()

    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *role))
        yield
