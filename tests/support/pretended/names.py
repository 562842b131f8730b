"""Says `meta` wherever Python says `cuda`, before PyTorch looks for a driver."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.support.pretended.device import CPU, META, DeviceTensor
from tests.support.pretended.rules import PINNED

MAKES_FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray)


class CudaIsMeta(TorchFunctionMode):
    """Translates the device in calls of PyTorch's functions."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function with another name for the device."""
        kwargs = dict(kwargs or {})
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = META

        if function is Tensor.pin_memory:
            return _pinned(args[0])
        if function is torch.empty and kwargs.pop("pin_memory", False):
            return _pinned(function(*args, **kwargs))
        if function is Tensor.cuda:
            return args[0].to(META)
        if function is Tensor.tolist and isinstance(args[0], DeviceTensor):
            return args[0].to(CPU).tolist()
        if function is Tensor.to:
            args = tuple(META if _is_cuda(value) else value for value in args)

        # PyTorch makes a tensor of Python's numbers on the CPU, and copies it.
        if function in MAKES_FROM_NUMBERS and kwargs.get("device") == META:
            return function(*args, **{**kwargs, "device": CPU}).to(META)
        if function is Tensor.new_tensor and isinstance(args[0], DeviceTensor):
            made = torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype))
            return made if kwargs.get("device") == CPU else made.to(META)

        return function(*args, **kwargs)


def _is_cuda(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, torch.device) and value.type == "cuda"


def _pinned(tensor: Tensor) -> Tensor:
    """Return a copy in memory that counts as pinned from now on."""
    copy = tensor.clone()
    storage = copy.untyped_storage()
    PINNED[storage.data_ptr()] = storage
    return copy
