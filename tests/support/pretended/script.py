"""The sequence of operations, with Python's numbers in them, as a CUDA graph would keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tests.support.pretended.call import Call
from tests.support.pretended.device import DeviceTensor

Number = int | float | bool


@dataclass(frozen=True)
class Line:
    """One operation on the device.

    Attributes:
        operation: Its overload, such as `aten.add.Tensor`.
        tensors: Type and shape of each tensor that it is given.
        options: Its arguments that are neither tensors nor numbers.
        numbers: The numbers that it is given, among them those in CPU tensors without axes: a graph
            would repeat them as they were when it was captured.
    """

    operation: str
    tensors: tuple[str, ...]
    options: tuple[str, ...]
    numbers: tuple[Number, ...]

    @property
    def form(self) -> tuple[Any, ...]:
        """All but the numbers."""
        return self.operation, self.tensors, self.options, len(self.numbers)


def line_of(call: Call) -> Line:
    """Return the line of an operation."""
    tensors: list[str] = []
    options: list[str] = []
    numbers: list[Number] = []

    for leaf in call.leaves:
        if isinstance(leaf, Tensor) and (isinstance(leaf, DeviceTensor) or leaf.dim() > 0):
            tensors.append(f"{leaf.dtype} {tuple(leaf.shape)}")
        elif isinstance(leaf, Tensor):
            numbers.append(leaf.item())
        elif isinstance(leaf, Number):
            numbers.append(leaf)
        else:
            options.append(str(leaf))

    return Line(str(call.function), tuple(tensors), tuple(options), tuple(numbers))
