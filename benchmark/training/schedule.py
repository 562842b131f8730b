"""The learning rate of a step, as a pure function."""

from __future__ import annotations

import math

from benchmark.study.schema import Recipe


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """The rate for one step of an epoch of `steps`: linear warm-up from above zero, then the schedule."""
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    now, warm, total = epoch * steps + step, schedule.warmup_epochs * steps, recipe.epochs * steps
    if now < warm:
        return peak * (now + 1) / warm
    if schedule.name == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (now - warm) / (total - warm)))
    return peak * schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
