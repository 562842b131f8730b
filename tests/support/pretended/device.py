"""The tensor that says it is on a GPU, while its numbers are on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")

META = torch.device("meta")
"""Where PyTorch's C++ takes the tensors to be: autograd needs no stream there, and no driver."""


class DeviceTensor(Tensor):
    """A tensor on the pretended GPU.

    Python sees that it is on `cuda:0`. C++ sees the meta device, and makes there what it makes
    beside such a tensor; the mode takes that device for the pretended GPU as well.

    Attributes:
        numbers: The tensor on the CPU that holds the numbers; on the meta device if there are none.
    """

    numbers: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, numbers: Tensor) -> DeviceTensor:
        """Put a tensor on the pretended GPU.

        Args:
            numbers: The tensor, whose memory is shared.
        """
        wrapped: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            layout=numbers.layout,
            device=META,
            requires_grad=False,
        )
        wrapped.numbers = numbers
        return wrapped

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The pretended GPU."""
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """Always True."""
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """Always False."""
        return False

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """Always False."""
        return False

    def data_ptr(self) -> int:
        """Return the address of the numbers, by which shared memory is recognized."""
        return self.numbers.data_ptr()

    def get_device(self) -> int:
        """Return the number of the pretended GPU."""
        return 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy with memory of its own, which PyTorch would look for on the device."""
        if id(self) not in memo:
            copied: Tensor = self.detach().clone()
            if isinstance(self, nn.Parameter):
                memo[id(self)] = nn.Parameter(copied, self.requires_grad)
            else:
                memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse to compute: inside `pretended_gpu`, the mode takes the operation first."""
        raise RuntimeError(f"{function}: a tensor on the pretended GPU outside of pretended_gpu()")
