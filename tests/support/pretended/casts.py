"""Autocast on the pretended GPU, whose tensors PyTorch's own autocast does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.support.pretended.call import replaced
from tests.support.pretended.device import DeviceTensor

PRODUCTS = {
    F.linear,
    F.scaled_dot_product_attention,
    Tensor.__matmul__,
    Tensor.bmm,
    Tensor.matmul,
    Tensor.mm,
    torch.addmm,
    torch.baddbmm,
    torch.bmm,
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.matmul,
    torch.mm,
}
"""Functions that compute in the lower precision, on a CPU as on a GPU. All others stay as they are:
what a GPU computes in float32 under autocast, such as softmax, networks do not need here."""


class Casts(TorchFunctionMode):
    """Casts the factors of products on the pretended GPU while autocast is on."""

    def __init__(self) -> None:
        super().__init__()
        self._kind: torch.dtype | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function with its arguments in the precision that autocast gives them."""
        kwargs = kwargs or {}
        if self._kind is not None and function in PRODUCTS:
            args = replaced(args, DeviceTensor, self._cast)
            kwargs = {
                name: replaced(value, DeviceTensor, self._cast) for name, value in kwargs.items()
            }
        return function(*args, **kwargs)

    @contextmanager
    def replacing_autocast(self) -> Iterator[None]:
        """Let `torch.autocast` for CUDA set the precision, until the block ends."""
        real: Callable[..., AbstractContextManager[Any]] = torch.autocast

        def autocast(
            device_type: str, dtype: torch.dtype | None = None, enabled: bool = True
        ) -> AbstractContextManager[Any]:
            if device_type != "cuda":
                return real(device_type, dtype, enabled)
            return self._lowering(dtype if enabled else None)

        with mock.patch.object(torch, "autocast", autocast):
            yield

    @contextmanager
    def _lowering(self, kind: torch.dtype | None) -> Iterator[None]:
        before, self._kind = self._kind, kind
        try:
            yield
        finally:
            self._kind = before

    def _cast(self, tensor: DeviceTensor) -> Tensor:
        is_lowered = tensor.is_floating_point() and tensor.dtype != torch.float64
        return tensor.to(self._kind) if is_lowered else tensor
