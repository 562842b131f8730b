"""What CUDA refuses, and what it makes the host wait for."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from methods.testing._waits import INDEXES, name_of, reads_back
from tests.support.pretended.call import Call, is_view
from tests.support.pretended.device import CPU, DeviceTensor

CROSSES = {"aten.copy_", "aten._to_copy"}
"""Operations that may have tensors on both devices, because they copy from one to the other."""

TAKES_NUMBERS = {"aten.fill", "aten.fill_", "aten.masked_fill", "aten.masked_fill_"}
"""Operations besides the pointwise ones that accept a number on the CPU beside device tensors."""

NO_KERNEL = {
    "aten._local_scalar_dense",
    "aten._unsafe_view",
    "aten.empty",
    "aten.empty_like",
    "aten.empty_strided",
    "aten.lift_fresh",
    "aten.new_empty",
    "aten.new_empty_strided",
}
"""Operations that compute nothing, besides the views."""


PINNED: dict[int, torch.UntypedStorage] = {}
"""Pinned memory by its address; kept, so that no other tensor gets the address."""


class DeviceMismatchError(RuntimeError):
    """CUDA would refuse the operation, because its tensors are on different devices."""


def check_devices(call: Call) -> None:
    """Check that CUDA would accept the devices of the arguments.

    Raises:
        DeviceMismatchError: It would not.
    """
    for leaf in call.leaves:
        if isinstance(leaf, torch.Generator) and leaf.device.type == "cpu":
            raise DeviceMismatchError(f"{call.name}: a generator of the CPU draws on cuda:0")

    if not call.on_device or call.name in CROSSES:
        return

    for stranger in call.on_host:
        if not _may_be_on_host(stranger, call):
            raise DeviceMismatchError(
                f"{call.name}: expected all tensors to be on cuda:0, but one of shape "
                f"{tuple(stranger.shape)} is on the CPU"
            )


def waits(call: Call) -> str:
    """Return what the host waits for if it calls an operation on the GPU; "" if for nothing.

    Args:
        call: The operation, which has passed `check_devices`.
    """
    if call.name in CROSSES:
        return _crossing(call)

    if reason := reads_back(call.function, call.args, call.kwargs):
        return reason
    if call.name in INDEXES and any(map(_is_on_host, call.argument("indices"))):
        return f"{call.name} (by an index on the CPU)"
    return ""


@cache
def launches(function: Any) -> bool:
    """Return whether an operation is at least one kernel, or one copy, on the GPU."""
    return name_of(function) not in NO_KERNEL and not is_view(function)


def _crossing(call: Call) -> str:
    """Return what a copy waits for, which is nothing on one device.

    The host goes on at once only if the copy may be late and the host's memory is pinned.
    """
    copies_into = call.name == "aten.copy_"
    source, target = call.argument("src" if copies_into else "self"), call.argument("self")
    leaves = isinstance(source, DeviceTensor)
    arrives = isinstance(target, DeviceTensor) if copies_into else call.target != CPU
    if leaves == arrives:
        return ""

    # A late copy to the host takes pinned memory of its own, unless it is given some.
    host = target if copies_into and leaves else source
    is_pinned = (leaves and not copies_into) or is_pinned_memory(host)
    if call.argument("non_blocking", False) and is_pinned:
        return ""
    return "copy to the host" if leaves else "copy to the device"


def is_pinned_memory(tensor: Tensor) -> bool:
    """Return whether a tensor on the CPU shares the memory of one that was pinned."""
    return tensor.untyped_storage().data_ptr() in PINNED


def _is_on_host(index: Tensor | None) -> bool:
    return index is not None and not isinstance(index, DeviceTensor)


def _may_be_on_host(stranger: Tensor, call: Call) -> bool:
    """Return whether CUDA accepts a tensor on the CPU among device tensors."""
    if any(stranger is written for written in call.written()):
        return False

    if call.name in INDEXES and isinstance(call.args[0], DeviceTensor):
        if any(stranger is index for index in call.argument("indices")):
            return True
        return stranger.dim() == 0

    pointwise = torch.Tag.pointwise in call.function.tags or call.name.startswith("aten._foreach_")
    return stranger.dim() == 0 and (pointwise or call.name in TAKES_NUMBERS)
