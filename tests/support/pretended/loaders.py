"""Stands for what loaders use to copy batches to a GPU beside the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import timm.data.loader
import torch
import torch.utils.data.dataloader


class _Torch:
    """The package `torch` as a loader sees it, with some of its modules replaced."""

    def __init__(self, **modules: Any):
        self.__dict__.update(modules)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class _Cuda(_Torch):
    """The module `torch.cuda` as a loader sees it: there is a GPU."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cuda, name)


@contextmanager
def loaders_on_gpu() -> Iterator[None]:
    """Let loaders without workers find a GPU: they pin their batches, and timm's uses streams."""
    accelerator = SimpleNamespace(
        current_accelerator=lambda: torch.device("cuda"), is_available=lambda: True
    )
    replaced = [
        (timm.data.loader, _Torch(cuda=_Cuda(is_available=lambda: True))),
        (torch.utils.data.dataloader, _Torch(accelerator=accelerator)),
    ]
    with ExitStack() as stack:
        for module, stand_in in replaced:
            stack.enter_context(mock.patch.object(module, "torch", stand_in))
        yield
