"""Computes the learning rate of each step, as a pure function.

torch's schedulers keep state; a pure function needs none to resume exactly after a crash.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.study.schema import Recipe


@dataclass(frozen=True)
class Moment:
    """A step after the warm-up, in relation to the whole training.

    Attributes:
        epoch: Index of the epoch, counted from 0, warm-up included.
        now: Number of steps since the warm-up.
        total: Number of steps from the warm-up to the end of the training.
    """

    epoch: int
    now: int
    total: int


Curve = Callable[[Recipe, Moment], float]
"""The shape of a schedule: the learning rate at a moment, divided by the recipe's `lr`."""


def cosine(recipe: Recipe, moment: Moment) -> float:
    """Decay to zero along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * moment.now / moment.total))


def step(recipe: Recipe, moment: Moment) -> float:
    """Drop by a factor at every milestone."""
    decays = sum(moment.epoch >= milestone for milestone in recipe.schedule.milestones)
    return recipe.schedule.gamma**decays


def constant(recipe: Recipe, moment: Moment) -> float:
    """Stay at the peak."""
    return 1.0


def polynomial(recipe: Recipe, moment: Moment) -> float:
    """Decay to zero as a power of the remaining time, as torch's PolynomialLR does."""
    power = recipe.schedule.power
    assert power is not None
    return float((1 - moment.now / moment.total) ** power)


def onecycle(recipe: Recipe, moment: Moment) -> float:
    """Rise to the peak and fall far below the start, as torch's OneCycleLR does.

    Smith & Topin, 2019, arXiv:1708.07120. Both parts are half a cosine. The first step has the
    lowest rate of the rise, and the last step has the final rate.
    """
    schedule = recipe.schedule
    assert schedule.pct_start is not None
    assert schedule.div_factor is not None
    assert schedule.final_div_factor is not None

    start = 1 / schedule.div_factor
    end = start / schedule.final_div_factor
    summit = schedule.pct_start * moment.total - 1  # the index of a step, not always whole

    if moment.now < summit:
        return _between(start, 1.0, moment.now / summit)
    return _between(1.0, end, (moment.now - summit) / (moment.total - 1 - summit))


CURVES: dict[str, Curve] = {
    "cosine": cosine,
    "step": step,
    "constant": constant,
    "polynomial": polynomial,
    "onecycle": onecycle,
}
"""The schedules by name."""


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate of one step under a recipe.

    The warm-up is linear and starts above zero; the recipe's schedule follows.

    Args:
        recipe: Peak rate, schedule and number of epochs.
        epoch: Index of the epoch, counted from 0.
        step: Index of the step within the epoch, counted from 0.
        steps: Steps per epoch.
    """
    peak = recipe.optimizer.lr
    now = epoch * steps + step
    warmup = recipe.schedule.warmup_epochs * steps

    if now < warmup:
        return peak * (now + 1) / warmup

    moment = Moment(epoch, now - warmup, recipe.epochs * steps - warmup)
    return peak * CURVES[recipe.schedule.name](recipe, moment)


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


def _between(start: float, end: float, share: float) -> float:
    """Return a value on half a cosine that leads from `start` to `end`."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
