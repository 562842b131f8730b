"""The CPU as a reference for the pretended GPU."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchedCpu(TorchDispatchMode):
    """Does nothing, but makes autograd treat tensors as it does those on the pretended GPU.

    Where any mode is active, autograd adds up the gradients of a tensor out of place. The sum may
    then lie in another order in memory, and what is computed from it differ in its last bit.
    """

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute an operation as it is."""
        return function(*args, **(kwargs or {}))
