"""What a member's steps do in one stage of its training, and the state that they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from benchmark.training import gradients, optimizers
from benchmark.training.averaging import Average
from benchmark.training.checkpointing import Stateful
from benchmark.training.gradients import Turn
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

    @property
    def unrecordable(self) -> str:
        """Why a step cannot be recorded as a CUDA graph; empty if it can."""
        if (self._schedule.recipe.accumulate or 1) > 1:
            return "gradients are accumulated, so that steps differ"
        return self.optimizer.unrecordable

    def begin(self, epoch: int, step: int) -> None:
        """Set the learning rate of a step.

        Args:
            epoch: Current epoch, negative in the early stage.
            step: Index of the batch in the epoch.
        """
        if self._turn(step).first:
            self.optimizer.set_rate(self._schedule.rate(epoch, step))

    def step(self, loss: Loss, step: int) -> None:
        """Train on the loss of a batch, without waiting for the device (unless in fp16).

        Args:
            loss: The loss.
            step: Index of the batch in the epoch.
        """
        updated = self.optimizer.step(loss, self._turn(step))

        if updated and self._average is not None:
            self._average.update()

    def completes_update(self, step: int) -> bool:
        """Return whether no gradients are left over for a later batch after this one."""
        return self._turn(step).last

    def _turn(self, step: int) -> Turn:
        schedule = self._schedule
        return gradients.turn(step, schedule.steps, schedule.recipe.accumulate)

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
