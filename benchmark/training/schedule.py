"""Computes the learning rate of each step, as a pure function.

torch's schedulers keep state; a pure function needs none to resume exactly after a crash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.study.schema import Recipe


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate of one step under a recipe.

    The warm-up is linear and starts above zero; the recipe's schedule follows.

    Args:
        recipe: Peak rate, schedule and number of epochs.
        epoch: Index of the epoch, counted from 0.
        step: Index of the step within the epoch, counted from 0.
        steps: Steps per epoch.
    """
    schedule = recipe.schedule
    peak = recipe.optimizer.lr
    now = epoch * steps + step
    warmup = schedule.warmup_epochs * steps

    if now < warmup:
        return peak * (now + 1) / warmup

    if schedule.name == "cosine":
        total = recipe.epochs * steps
        return peak * 0.5 * (1 + math.cos(math.pi * (now - warmup) / (total - warmup)))

    decays = sum(epoch >= milestone for milestone in schedule.milestones)
    return peak * schedule.gamma**decays


@dataclass(frozen=True)
class Schedule:
    """The learning rates of a cell, in both of its stages.

    Attributes:
        recipe: The recipe of the main training, stretched to the method's length.
        steps: Steps per epoch.
        early_epochs: Number of epochs in the early stage.
        early_recipe: The recipe that the early stage follows; None for a constant peak rate.
    """

    recipe: Recipe
    steps: int
    early_epochs: int = 0
    early_recipe: Recipe | None = None

    def rate(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step; epochs of the early stage are negative."""
        if epoch >= 0:
            return learning_rate(self.recipe, epoch, step, self.steps)

        if self.early_recipe is not None:
            return learning_rate(self.early_recipe, epoch + self.early_epochs, step, self.steps)

        return self.recipe.optimizer.lr
