"""Computes the number of epochs and the multiply-accumulates of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
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


def compute(method: Method, epochs: Length, images: int, student: int, teacher: int) -> float:
    """Return the multiply-accumulates of training a cell alone, excluding its teacher's training.

    Args:
        method: The method.
        epochs: Number of epochs in each stage.
        images: Images per epoch.
        student: Multiply-accumulates of the student's forward pass of one image.
        teacher: Multiply-accumulates of the teacher's forward pass of one image.
    """
    companion = companion_of(method)
    views = _views(method)
    student_macs = TRAINING_PASSES * student * views
    companion_macs = companion.macs(student * views, teacher * views)

    def per_image(early: bool) -> int:
        teacher_macs = teacher * views if method.taught(early) else 0
        return student_macs + companion_macs + teacher_macs

    early_macs = TRAINING_PASSES * student if companion.trains_first else per_image(early=True)
    late_macs = per_image(early=False)
    return float(images * (epochs.early * early_macs + epochs.epochs * late_macs))


def teacher_passes(members: Iterable[tuple[Method, Length]]) -> int:
    """Return the number of teacher passes per image in a cohort whose members share them.

    An epoch in which any method needs two views of the images counts as two passes.

    Args:
        members: Method and length of each member.
    """
    passes: dict[int, int] = {}
    for method, epochs in members:
        for epoch in range(-epochs.early, epochs.epochs):
            if method.taught(epoch < 0):
                passes[epoch] = max(passes.get(epoch, 0), _views(method))

    return sum(passes.values())


def _views(method: Method) -> int:
    return 2 if method.tapped().views else 1
