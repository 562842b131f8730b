"""The work of a training step, apart from what decides when and how the device does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from benchmark.records.checkpoints import Tensors


@dataclass(frozen=True)
class Work:
    """Operations on a device that are the same in every step, but for the tensors' contents.

    Attributes:
        begin: Sets what differs between steps besides the batch: the learning rate, and the state
            of the random streams. Called before every `run`.
        run: Queues the operations, and returns what is logged of the step.
        tensors: Returns all tensors that `run` changes and later steps depend on.
    """

    begin: Callable[[], None]
    run: Callable[[], Tensor]
    tensors: Callable[[], Tensors]


Runner = Callable[[Work], Tensor]
"""Has the device do some work, and returns what `Work.run` returns."""


def at_once(work: Work) -> Tensor:
    """Run the operations as they are written."""
    work.begin()
    return work.run()
