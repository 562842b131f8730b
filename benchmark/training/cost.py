"""Computes the number of epochs and the multiply-accumulates of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmark.records.journal import Stopped
from benchmark.study.schema import Recipe
from benchmark.training.companions import TRAINING_PASSES, companion_of
from methods import Method


@dataclass(frozen=True)
class Length:
    """The number of epochs in each stage of a cell.

    Attributes:
        early: Number of epochs in the early stage; 0 for methods without one.
        epochs: Number of epochs in the main training.
    """

    early: int
    epochs: int

    @property
    def total(self) -> int:
        """Total number of epochs in both stages."""
        return self.early + self.epochs

    def stopped(self, epochs: int) -> Stopped | None:
        """Return the record of a main training that ended early; None if it did not.

        Args:
            epochs: Number of epochs that were trained.
        """
        return Stopped(after=epochs, planned=self.epochs) if epochs < self.epochs else None


def length(method: Method, recipe: Recipe) -> Length:
    """Return the number of epochs in each stage of a method under a recipe."""
    if companion_of(method).trains_first:
        early = recipe.epochs
    else:
        # Without rounding, 0.07 * 100 is a little more than 7.
        early = math.ceil(round(method.pre_training * recipe.epochs, 6))

    return Length(early, recipe.stretched(method.length).epochs)


def compute(
    method: Method,
    epochs: Length,
    images: int,
    student: int,
    teacher: int,
    teacher_cache: int | None = None,
) -> float:
    """Return the multiply-accumulates of training a cell alone, excluding its teacher's training.

    With stored outputs, none of them are there before the training.

    Args:
        method: The method.
        epochs: Number of epochs in each stage.
        images: Images per epoch.
        student: Multiply-accumulates of the student's forward pass of one image.
        teacher: Multiply-accumulates of the teacher's forward pass of one image.
        teacher_cache: Number of fixed views, as in the recipe.
    """
    companion = companion_of(method)
    views = _views(method)
    macs = TRAINING_PASSES * student * views + companion.macs(student * views, teacher * views)
    early_macs = TRAINING_PASSES * student if companion.trains_first else macs

    if teacher_cache is None:
        passes = teacher_passes([(method, epochs)])
    else:
        passes = views * len(stored_views(method, epochs, teacher_cache))
    own_macs = epochs.early * early_macs + epochs.epochs * macs
    return float(images * (own_macs + teacher * passes))


def teacher_passes(members: Iterable[tuple[Method, Length]]) -> int:
    """Return the number of teacher passes per image in a cohort whose members share them.

    An epoch in which any method needs two views of the images counts as two passes.

    Args:
        members: Method and length of each member.
    """
    # Many members of a cohort make the same passes in the same epochs.
    distinct = {
        (epochs, method.taught(True), method.taught(False), _views(method))
        for method, epochs in members
    }
    passes: dict[int, int] = {}
    for epochs, taught_early, taught_late, views in distinct:
        for epoch in _taught(epochs, taught_early, taught_late):
            passes[epoch] = max(passes.get(epoch, 0), views)

    return sum(passes.values())


def stored_views(method: Method, epochs: Length, teacher_cache: int) -> set[int]:
    """Return the numbers of the fixed views of which a method needs the teacher's outputs.

    Args:
        method: The method.
        epochs: Number of epochs in each stage.
        teacher_cache: Number of fixed views, as in the recipe.
    """
    taught = _taught(epochs, method.taught(True), method.taught(False))
    return {epoch % teacher_cache for epoch in taught}


def _taught(epochs: Length, early: bool, late: bool) -> Iterator[int]:
    """Yield the epochs with a teacher, given whether each stage has one."""
    for epoch in range(-epochs.early, epochs.epochs):
        if early if epoch < 0 else late:
            yield epoch


def _views(method: Method) -> int:
    return 2 if method.tapped().views else 1
