"""What a member's steps do in one stage of its training, and the state that they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from benchmark.training import gradients, optimizers
from benchmark.training.averaging import Average
from benchmark.training.checkpointing import Stateful
from benchmark.training.losses import Loss
from benchmark.training.schedule import Schedule


class Stage:
    """Updates the networks that learn in a stage.

    Attributes:
        optimizer: The optimizer, fresh at the start of the stage.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        averaged: Mapping[str, nn.Module],
        schedule: Schedule,
    ):
        """Start a stage.

        Args:
            parameters: The parameters that learn.
            averaged: The modules whose weights are averaged if the recipe averages weights, by
                name; none in an early stage.
            schedule: The learning rates, and the recipe to follow.
        """
        recipe = schedule.recipe
        self.optimizer = optimizers.create(recipe, parameters)
        self._schedule = schedule
        self._average = Average(averaged, recipe.ema) if recipe.ema and averaged else None

    def step(self, loss: Loss, epoch: int, step: int) -> None:
        """Train on the loss of a batch, without waiting for the device (unless in fp16).

        Args:
            loss: The loss.
            epoch: Current epoch, negative in the early stage.
            step: Index of the batch in the epoch.
        """
        schedule = self._schedule
        turn = gradients.turn(step, schedule.steps, schedule.recipe.accumulate)

        if turn.first:
            self.optimizer.set_rate(schedule.rate(epoch, step))
        updated = self.optimizer.step(loss, turn)

        if updated and self._average is not None:
            self._average.update()

    def completes_update(self, step: int) -> bool:
        """Return whether no gradients are left over for a later batch after this one."""
        recipe = self._schedule.recipe
        return gradients.turn(step, self._schedule.steps, recipe.accumulate).last

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the networks have their averaged weights, if there are any."""
        return nullcontext() if self._average is None else self._average.applied()

    def finish(self) -> None:
        """Give the networks their averaged weights for good, if there are any."""
        if self._average is not None:
            self._average.apply()

    def states(self) -> dict[str, Stateful]:
        """Return everything that a checkpoint must contain besides the modules, by name."""
        if self._average is None:
            return {"optimizer": self.optimizer}
        return {"optimizer": self.optimizer, "average": self._average}
