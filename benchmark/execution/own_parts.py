"""Tries the optimizers, schedules and augmentations of plug-ins before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.data import Data
from benchmark.data.own_augmentation import OwnAugmentations
from benchmark.errors import InputError, first_line
from benchmark.study.schema import OwnAugmentation, OwnOptimizer, OwnSchedule, Recipe
from benchmark.study.study import Study
from benchmark.training.losses import Loss
from benchmark.training.optimizers import Optimizer, build
from benchmark.training.schedule import learning_rate

_STEPS = 4
"""Number of updates before an optimizer is saved, and after."""

_MOMENTS = 200
"""Maximum number of steps at which a schedule is tried."""

_IMAGES = 4
"""Number of images that an augmentation is tried on."""


def check_own_parts(study: Study, data: Data) -> None:
    """Try all parts of plug-ins that the recipes of a study use.

    Args:
        study: The study.
        data: Its data, for the shape of the images and the number of steps.

    Raises:
        InputError: A part raises an error, returns something else than it should, or depends on
            more than its arguments and state, so that trainings could not be resumed.
    """
    for place, recipe in _recipes(study):
        if isinstance(recipe.optimizer, OwnOptimizer):
            with _explained(f"{place}.optimizer", "optimizer", recipe.optimizer.name):
                _try_optimizer(recipe.optimizer, data.device)
        if isinstance(recipe.schedule, OwnSchedule):
            with _explained(f"{place}.schedule", "schedule", recipe.schedule.name):
                _try_schedule(recipe, data)
        for own in recipe.augmentation.own or ():
            with _explained(f"{place}.augmentation.own", "augmentation", own.name):
                _try_augmentation(own, data)


def _recipes(study: Study) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipes of a study with their places in its file."""
    yield "recipe", study.recipe
    for index, row in enumerate(study.methods):
        if row.recipe:
            yield f"methods[{index}].recipe", study.recipe_of(row)
    for index, pair in enumerate(study.pairs):
        if pair.teacher.recipe is not None:
            yield f"pairs[{index}].teacher.recipe", pair.teacher.recipe


@contextmanager
def _explained(place: str, kind: str, name: str) -> Iterator[None]:
    """Turn whatever a plug-in raises into one line."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {kind} {name!r}: {error}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{place}: {kind} {name!r} fails: {reason}") from error


def _try_optimizer(settings: OwnOptimizer, device: torch.device) -> None:
    """Train two tensors in one go, and again with an interruption."""
    first, second = _Fit(settings, device), _Fit(settings, device)
    for fit in (first, second):
        fit.train(range(_STEPS))

    resumed = _Fit(settings, device)
    resumed.resume(second)
    for fit in (first, resumed):
        fit.train(range(_STEPS, 2 * _STEPS))

    if not all(map(torch.equal, first.tensors, resumed.tensors)):
        raise InputError(
            "cannot be resumed exactly; keep all that it remembers as tensors in its `state`, and "
            "draw no random numbers"
        )


class _Fit:
    """Two tensors that an optimizer fits to zero."""

    def __init__(self, settings: OwnOptimizer, device: torch.device):
        generator = seeds.generator(0, "own optimizer")
        shapes = ((3, 4), (5,))
        self.tensors = [
            torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes
        ]
        built = build(settings, self.tensors)
        if not isinstance(built, torch.optim.Optimizer):
            raise InputError(f"returns {type(built).__name__}, not a torch.optim.Optimizer")

        self._rate = settings.lr
        self._optimizer = Optimizer(built, settings.lr)

    def train(self, steps: range) -> None:
        """Do some steps, with a learning rate that changes as that of a schedule."""
        for step in steps:
            self._optimizer.set_rate(self._rate / (step + 1))
            total = torch.stack([tensor.square().sum() for tensor in self.tensors]).sum()
            self._optimizer.step(Loss(total.detach(), total, parts=[], raw={}, weights={}))

    def resume(self, other: _Fit) -> None:
        """Go on from the state of another one."""
        with torch.no_grad():
            for own, tensor in zip(self.tensors, other.tensors, strict=True):
                own.copy_(tensor)
        state = {name: tensor.clone() for name, tensor in other._optimizer.state().items()}
        self._optimizer.load(state)


def _try_schedule(recipe: Recipe, data: Data) -> None:
    """Compute learning rates twice at moments from the first step to the last."""
    steps = data.steps(recipe.batch_size)
    total = recipe.epochs * steps
    stride = max(1, total // _MOMENTS)
    moments = [*range(0, total, stride), total - 1]

    def rates() -> list[float]:
        return [learning_rate(recipe, now // steps, now % steps, steps) for now in moments]

    first = rates()
    for now, rate in zip(moments, first, strict=True):
        if not (math.isfinite(rate) and rate >= 0):
            share = rate / recipe.optimizer.lr
            raise InputError(f"returns {share:g} at step {now}; it must be finite and not negative")
    if rates() != first:
        raise InputError("returns another value when it is called again with the same moment")


def _try_augmentation(own: OwnAugmentation, data: Data) -> None:
    """Augment random images twice with the same generator."""
    images = torch.rand(_IMAGES, *data.size, generator=seeds.generator(0, "own augmentation"))

    def augmented() -> Any:
        return OwnAugmentations([own], 0, 0).augment(images.clone().to(data.device), 0)

    first, second = augmented(), augmented()
    if not isinstance(first, Tensor):
        raise InputError(f"returns {type(first).__name__}, not a tensor")
    if first.shape != images.shape or first.dtype != images.dtype or first.device != data.device:
        raise InputError(
            f"returns {_shown(first)}; it must keep the shape, type and device of the images, "
            f"{_shown(images.to(data.device))}"
        )
    if not torch.isfinite(first).all():
        raise InputError("returns values that are not finite")
    if not torch.equal(first, second):
        raise InputError(
            "returns other images when it is called again with the same generator; draw all random "
            "numbers from the generator"
        )


def _shown(images: Tensor) -> str:
    kind = str(images.dtype).removeprefix("torch.")
    return f"{kind} {list(images.shape)} on {images.device}"
