"""Stands for the parts of `torch.cuda` that need a driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch

from tests.support.pretended.rules import PINNED


class Event:
    """Stands for a CUDA event, whose time is that of the host."""

    def __init__(self, enable_timing: bool = False):
        self._time = 0.0

    def record(self, *_: Any) -> None:
        """Note the time."""
        self._time = time.perf_counter()

    def elapsed_time(self, later: Event) -> float:
        """Return the milliseconds to another event."""
        return 1000 * (later._time - self._time)


@contextmanager
def without_driver(synchronize: Callable[..., None]) -> Iterator[None]:
    """Replace what asks the driver, until the block ends.

    Args:
        synchronize: Called in place of `torch.cuda.synchronize`.
    """
    replaced = {
        "Event": Event,
        "device": lambda _: nullcontext(),
        "get_device_name": lambda *_: "pretended",
        "manual_seed": lambda _: None,  # draws are the CPU's, whose generator is seeded as well
        "max_memory_allocated": lambda *_: 0,
        "synchronize": synchronize,
    }
    with ExitStack() as stack:
        for name, stand_in in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))

        # The backward pass stays in this thread: there is no thread for a device that is not there.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(_new_parameters())
        stack.callback(PINNED.clear)
        yield


@contextmanager
def _new_parameters() -> Iterator[None]:
    """Let `Module.to` make new parameters: a tensor on the CPU cannot become a `DeviceTensor`."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
