"""The exponential moving average of a student's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benchmark.records.checkpoints import Tensors


class Average:
    """Averages the parameters of the modules that make up the network to evaluate.

    The first update copies the parameters; each later one moves the average towards them. Buffers
    are not averaged: while the averages are in use, the buffers are those of the modules.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float):
        """Average the parameters of modules; none that several modules share is averaged twice.

        Args:
            modules: The modules by name.
            decay: Share of the average that each update keeps.
        """
        self._parameters = dict(nn.ModuleDict(dict(modules)).named_parameters())
        self._averages: Tensors = {}
        self._combine = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Include the current parameters in the average."""
        if not self._averages:
            self._averages = _copies(self._parameters)
            return

        self._combine(list(self._averages.values()), list(self._parameters.values()), 0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the modules their averages for the duration of a `with` block."""
        own = _copies(self._parameters)
        self.apply()
        try:
            yield
        finally:
            _write(own, self._parameters)

    def apply(self) -> None:
        """Replace the parameters of the modules with their averages, if there are any yet."""
        _write(self._averages, self._parameters)

    def state(self) -> Tensors:
        """Return the averages by the names of their parameters."""
        return dict(self._averages)

    def load(self, tensors: Tensors) -> None:
        """Restore a state that `state` returned.

        Raises:
            ValueError: The state is that of other parameters.
        """
        if not tensors:
            return  # in fp16, all updates before the checkpoint may have been skipped

        if tensors.keys() != self._parameters.keys():
            raise ValueError("the averages don't belong to the parameters of this network")

        self._averages = _copies(self._parameters)
        _write(tensors, self._averages)


def _copies(parameters: Mapping[str, Tensor]) -> Tensors:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def _write(values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Write values into parameters, in place, so that optimizers keep referring to them."""
    for name, value in values.items():
        parameters[name].copy_(value)
