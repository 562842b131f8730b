"""Memory at fixed addresses for a batch and the teacher's output, from which recorded steps read.

There are two slots, which batches take in turn: while the members still read one, the teacher
already fills the other.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from benchmark.data import Loaded
from benchmark.records.checkpoints import Tensors
from methods import Output


class Slot:
    """Holds one batch, and the teacher's output for it.

    Attributes:
        loaded: The batch.
        output: The teacher's output; None until there is one.
        read: Recorded on every stream after the work that reads the slot.
    """

    def __init__(self, loaded: Loaded):
        """Make room for batches like this one."""
        room: Any = [
            None if value is None else torch.empty_like(value) for value in _values(loaded)
        ]
        self.loaded = Loaded(*room)
        self.output: Output | None = None
        self.read: list[torch.cuda.Event] = []

    def fits(self, loaded: Loaded) -> bool:
        """Return whether a batch has the shapes and parts that there is room for."""
        return [_form(value) for value in _values(loaded)] == [
            _form(value) for value in _values(self.loaded)
        ]

    def fill(self, loaded: Loaded, stream: torch.cuda.Stream) -> None:
        """Copy a batch into the slot, after all work that reads the one before.

        Args:
            loaded: The batch.
            stream: The current stream.
        """
        for event in self.read:
            stream.wait_event(event)
        self.read = []

        for own, value in zip(_values(self.loaded), _values(loaded), strict=True):
            if own is not None and value is not None:
                own.copy_(value, non_blocking=True)

    def can_hold(self, output: Output) -> bool:
        """Return whether there is room for an output of the teacher."""
        expected = {name: _form(value) for name, value in self.tensors().items()}
        forms = {name: _form(value) for name, value in _tensors(output).items()}
        return self.output is None or forms == expected

    def hold(self, output: Output) -> Tensor:
        """Copy the teacher's output into the slot, and return its logits there."""
        if self.output is None:
            self.output = output.map(torch.clone)
        else:
            for name, value in _tensors(output).items():
                _tensors(self.output)[name].copy_(value)
        return self.output.logits

    def tensors(self) -> Tensors:
        """Return the tensors of the teacher's output by name; empty if there is none."""
        return {} if self.output is None else _tensors(self.output)


def _values(loaded: Loaded) -> list[Tensor | None]:
    return [getattr(loaded, field.name) for field in fields(loaded)]


def _form(value: Tensor | None) -> tuple[torch.Size, torch.dtype] | None:
    return None if value is None else (value.shape, value.dtype)


def _tensors(output: Output) -> Tensors:
    """Return all tensors of an output but the classifier's weights, by name."""
    found: Tensors = {}
    for field in fields(output):
        value = getattr(output, field.name)
        parts = value if isinstance(value, tuple) else (value,)
        for number, part in enumerate(parts):
            if isinstance(part, Tensor):
                found[f"{field.name}/{number}"] = part
    return found
