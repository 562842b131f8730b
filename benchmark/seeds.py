"""Random streams derived by name: adding a method, a pair or an evaluation changes no other stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *role: str | int) -> int:
    """The seed of one stream, 0 to 2^63 - 1, from the study's seed and a role such as ("order", epoch)."""
    text = "/".join(map(str, (seed, *role)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *role: str | int) -> torch.Generator:
    """A CPU generator at the start of one stream, the same on every machine."""
    return torch.Generator().manual_seed(derive(seed, *role))


@contextmanager
def seeded(seed: int, *role: str | int) -> Iterator[None]:
    """Torch's global stream is this one inside, and is as it was before outside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *role))
        yield
