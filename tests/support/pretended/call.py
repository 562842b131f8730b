"""One operation that PyTorch dispatches, as the rules look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from methods.testing._waits import name_of
from tests.support.pretended.device import CPU, CUDA, DeviceTensor


@dataclass(frozen=True)
class Call:
    """An operation and its arguments.

    Attributes:
        function: The operation, an overload such as `aten.add.Tensor`.
        args: Its positional arguments.
        kwargs: Its other arguments.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """The operation's name without that of the overload, such as `aten.add`."""
        return name_of(self.function)

    @cached_property
    def leaves(self) -> list[Any]:
        """All arguments, with the elements of lists in place of the lists."""
        return [*_leaves(self.args), *_leaves(tuple(self.kwargs.values()))]

    @cached_property
    def on_device(self) -> list[DeviceTensor]:
        """The arguments on the pretended GPU."""
        return [leaf for leaf in self.leaves if isinstance(leaf, DeviceTensor)]

    @cached_property
    def on_host(self) -> list[Tensor]:
        """The arguments on the CPU."""
        tensors = [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]
        return [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]

    @cached_property
    def target(self) -> torch.device | None:
        """The device that the operation is asked to put its result on, if it is asked."""
        wanted = self.kwargs.get("device")
        if wanted is None:
            return None
        return CPU if torch.device(wanted).type == "cpu" else CUDA

    @property
    def concerns_device(self) -> bool:
        """Whether the pretended GPU takes part at all."""
        return bool(self.on_device) or self.target == CUDA

    def argument(self, name: str, default: Any = None) -> Any:
        """Return an argument by its name in the operation's schema."""
        if name in self.kwargs:
            return self.kwargs[name]

        for parameter, value in zip(self.function._schema.arguments, self.args, strict=False):
            if parameter.name == name:
                return value
        return default

    def written(self) -> Iterator[Any]:
        """Yield the arguments that the operation changes in place."""
        for parameter in self.function._schema.arguments:
            if parameter.alias_info is not None and parameter.alias_info.is_write:
                yield self.argument(parameter.name)


def replaced(value: Any, kind: type[Tensor], function: Callable[[Any], Any]) -> Any:
    """Return arguments or results with a function applied to the tensors of one kind.

    Quicker than PyTorch's trees: operations know no containers besides lists and tuples.
    """
    if isinstance(value, kind):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(replaced(element, kind, function) for element in value)
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in nested lists and tuples."""
    if isinstance(value, list | tuple):
        for element in value:
            yield from _leaves(element)
    else:
        yield value


@cache
def returns_written(function: Any) -> bool:
    """Return whether an operation returns arguments that it changed in place."""
    aliases = [result.alias_info for result in function._schema.returns]
    return any(alias is not None and alias.is_write for alias in aliases)


@cache
def is_view(function: Any) -> bool:
    """Return whether an operation only looks at memory in another way."""
    aliases = [result.alias_info for result in function._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)
