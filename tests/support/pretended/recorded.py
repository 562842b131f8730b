"""CUDA graphs of the pretended GPU.

While a graph is recorded, nothing is computed, and the results are not numbers, as the contents of
fresh memory. What would make the host wait is refused. A replay computes the operations with the
Python numbers and the memory with which they were recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.support.pretended.call import Call, is_view, replaced, returns_written
from tests.support.pretended.device import DeviceTensor


@dataclass(frozen=True)
class Step:
    """A recorded operation.

    Attributes:
        call: The operation.
        results: Where its results go; None if it writes into its arguments.
    """

    call: Call
    results: Any


@dataclass
class Pool:
    """Memory that several graphs share: a replay of one may overwrite what others computed."""

    graphs: list[Graph] = field(default_factory=list)


class Graph:
    """Stands for a `torch.cuda.CUDAGraph`.

    Attributes:
        steps: The recorded operations.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._pool = Pool()

    def enter(self, pool: Pool | None) -> None:
        """Begin the recording in a pool."""
        self._pool = pool or Pool()
        self._pool.graphs.append(self)

    def spoil_others(self) -> None:
        """Overwrite what the other graphs of the pool have computed."""
        for graph in self._pool.graphs:
            if graph is not self:
                graph.spoil()

    def spoil(self) -> None:
        """Overwrite all results."""
        for step in self.steps:
            replaced(step.results, DeviceTensor, lambda result: fill(result.numbers))

    def record(self, call: Call) -> Any:
        """Record an operation that computes something, and return its results without numbers."""
        if call.function._schema.is_mutable:
            self.steps.append(Step(call, None))
            written = tuple(call.written())
            if not returns_written(call.function):
                return None
            return written if len(call.function._schema.returns) > 1 else written[0]

        # Copies, because some operations change their arguments without saying so.
        args, kwargs = (_mapped(value, _copy) for value in (call.args, call.kwargs))
        if call.target is not None:
            kwargs["device"] = "cpu"
        results = replaced(
            call.function(*args, **kwargs), Tensor, lambda result: DeviceTensor(fill(result))
        )
        self.steps.append(Step(call, results))
        return results


def is_recorded(call: Call) -> bool:
    """Return whether an operation computes something, and does not only look at memory."""
    return not is_view(call.function) and torch.Tag.inplace_view not in call.function.tags


def made(results: Any) -> list[DeviceTensor]:
    """Return the tensors among the results of an operation."""
    values = results if isinstance(results, list | tuple) else (results,)
    return [value for value in values if isinstance(value, DeviceTensor)]


def fill(tensor: Tensor) -> Tensor:
    """Overwrite a tensor: with no numbers, or with zeros where every value is a number."""
    if tensor.is_floating_point():
        return tensor.fill_(math.nan)
    return tensor.zero_()


def _copy(tensor: DeviceTensor) -> Tensor:
    """Return a copy with the same strides, even if elements share memory."""
    numbers = tensor.numbers
    memory = numbers.untyped_storage().clone()
    copy = torch.empty(0, dtype=numbers.dtype)
    return copy.set_(memory, numbers.storage_offset(), numbers.shape, numbers.stride())


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, dict):
        return {key: replaced(inner, DeviceTensor, function) for key, inner in value.items()}
    return replaced(value, DeviceTensor, function)
