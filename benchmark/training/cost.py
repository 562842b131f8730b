"""How long a cell trains, at which learning rate, and how much it computes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.study.schema import Recipe
from methods import Method


@dataclass(frozen=True)
class Length:
    """Epochs of a cell.  early: before the training, for a method that has such a stage; they count -early to -1."""

    early: int
    epochs: int

    @property
    def total(self) -> int:
        """All epochs."""
        return self.early + self.epochs


def length(method: Method, recipe: Recipe) -> Length:
    """How long a method trains under a recipe. A network that is trained before the student takes a whole training."""
    alone = method.tapped().companion == "earlier"
    share = round(method.pre_training * recipe.epochs, 6)  # 0.07 * 100 is a little more than 7
    early = recipe.epochs if alone else math.ceil(share)
    return Length(early, recipe.stretched(method.length).epochs)


def compute(method: Method, recipe: Recipe, images: int, student: int, teacher: int) -> float:
    """Multiply-accumulates of a training: 3 per pass that learns, 1 per pass that looks.

    images: of an epoch. student, teacher: multiply-accumulates of one forward pass of one image.
    """
    needs, how_long = method.tapped(), length(method, recipe)
    views = 2 if needs.views else 1
    own = 3 * student * views
    beside = {"": 0, "peer": own, "earlier": student * views, "untrained": teacher * views}[
        needs.companion
    ]
    early, late = (
        own + beside + (teacher * views if method.taught(stage) else 0) for stage in (True, False)
    )
    if needs.companion == "earlier":
        early = 3 * student
    return float(images * (how_long.early * early + how_long.epochs * late))


def looks(cohort: Iterable[Method], recipe: Recipe) -> int:
    """Epochs in which a teacher looks for methods that share its passes; one with two views of the images is two."""
    views: dict[int, int] = {}
    for method in cohort:
        needs, how_long = method.tapped(), length(method, recipe)
        for epoch in range(-how_long.early, how_long.epochs):
            if method.taught(epoch < 0):
                views[epoch] = max(views.get(epoch, 0), 2 if needs.views else 1)
    return sum(views.values())
