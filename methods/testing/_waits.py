"""The operations that make a program wait for a GPU, found where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

INDEXES = {"aten.index", "aten.index_put", "aten.index_put_", "aten._unsafe_index"}
"""Operations that take elements at indices. A mask among these is turned into indices first."""

CHECKS_RESULT = {
    "aten._linalg_check_errors",
    "aten._linalg_eigh",
    "aten._linalg_svd",
    "aten.linalg_eig",
    "aten.linalg_lstsq",
    "aten.multinomial",
}
"""Operations that read back whether they succeeded, or whether their input is valid."""

CHECKS_ON_CPU = {F.one_hot}
"""Functions that read their input to check it, but on a CPU alone."""

READS_BACK = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""PyTorch's tags of operations whose result, or its shape, the host must know to go on."""


@contextmanager
def waits() -> Iterator[list[str]]:
    """Note the operations of a block for whose results the host would wait on a GPU.

    Yields:
        Their names, such as "aten._local_scalar_dense" for `Tensor.item`, in order.
    """
    noted: list[str] = []
    checks = _Checks()
    with checks, _Noting(noted, checks):
        yield noted


class _Checks(TorchFunctionMode):
    """Tells whether a function runs that reads its input on a CPU alone, to check it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_running = False

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.is_running = function in CHECKS_ON_CPU
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.is_running = False


class _Noting(TorchDispatchMode):
    """Notes the operations that wait."""

    def __init__(self, noted: list[str], checks: _Checks):
        super().__init__()  # type: ignore[no-untyped-call]
        self._noted = noted
        self._checks = checks

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        reason = reads_back(function, args, kwargs or {})
        if reason and not self._checks.is_running:
            self._noted.append(reason)
        return function(*args, **(kwargs or {}))


def reads_back(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return what the host must know of an operation's result to go on; "" if nothing.

    Args:
        function: The operation, an overload such as `aten.add.Tensor`.
        args: Its positional arguments.
        kwargs: Its other arguments.

    Returns:
        The operation's name, with a remark where it depends on the arguments.
    """
    name = name_of(function)
    if name in INDEXES:
        return f"{name} (by a mask)" if any(map(is_mask, args[1])) else ""
    if name == "aten.repeat_interleave" and kwargs.get("output_size") is not None:
        return ""
    return name if _always_reads_back(function) else ""


def is_mask(index: Tensor | None) -> bool:
    """Return whether an index chooses elements by True and False."""
    return index is not None and index.dtype in (torch.bool, torch.uint8)


@cache
def name_of(function: Any) -> str:
    """Return the name of an operation without that of the overload, such as `aten.add`."""
    return str(function._schema.name).replace("::", ".")


@cache
def _always_reads_back(function: Any) -> bool:
    return name_of(function) in CHECKS_RESULT or bool(READS_BACK & set(function.tags))
