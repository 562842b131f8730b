"""Stands for what loaders use to copy batches to a GPU beside the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import timm.data.loader
import torch
import torch.utils.data.dataloader


class Stream:
    """Stands for a CUDA stream, whose work is done as soon as it is queued.

    Attributes:
        waited: How often it was made to wait for another stream.
    """

    def __init__(self, device: Any = None):
        self.waited = 0

    def wait_stream(self, stream: Stream) -> None:
        """Count a wait, in which the host does not take part."""
        self.waited += 1


class _Torch:
    """The package `torch` as a loader sees it, with some of its modules replaced."""

    def __init__(self, **modules: Any):
        self.__dict__.update(modules)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def streams() -> Iterator[Stream]:
    """Let loaders without workers find a GPU: they pin their batches, and timm's uses streams.

    Yields:
        The stream of the training.
    """
    training = Stream()
    cuda = SimpleNamespace(
        current_stream=lambda device: training,
        is_available=lambda: True,
        stream=lambda stream: nullcontext(),
    )
    accelerator = SimpleNamespace(
        current_accelerator=lambda: torch.device("cuda"), is_available=lambda: True
    )
    replaced = [
        (torch.cuda, "Stream", Stream),
        (timm.data.loader, "torch", _Torch(cuda=cuda)),
        (torch.utils.data.dataloader, "torch", _Torch(accelerator=accelerator)),
    ]
    with ExitStack() as stack:
        for module, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield training
