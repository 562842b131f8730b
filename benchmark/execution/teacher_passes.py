"""Counts the passes of teachers, which cohorts share if the outputs are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmark.hashing import canonical
from benchmark.models.pairing import paired_depth
from benchmark.study.schema import Recipe
from benchmark.training import cost
from benchmark.training.teacher_taps import SECOND, taps_of
from methods import Method

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared


class OutputsKey(NamedTuple):
    """What cells have in common that read the same stored outputs.

    Attributes:
        seed: Their seed.
        teacher: Key of their teacher.
        shown: How their recipes augment the images, and the precision of the teacher.
    """

    seed: int
    teacher: str
    shown: str


def outputs_key(prepared: Prepared, pair: str, recipe: Recipe, seed: int) -> OutputsKey:
    """Return what decides which stored outputs a cell reads.

    Args:
        prepared: The study.
        pair: Name of the cell's pair.
        recipe: Its recipe.
        seed: Its seed.
    """
    shown = {
        "augmentation": recipe.augmentation.model_dump(exclude_none=True),
        "precision": recipe.precision,
    }
    return OutputsKey(seed, prepared.teacher_of(pair).key, canonical(shown))


def taps_read(prepared: Prepared, pair: str, method: Method) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the teacher's taps that a method reads on a pair, by name."""
    teacher = prepared.shapes[pair, "teacher"]
    depth = paired_depth(prepared.shapes[pair, "student"], teacher)
    return taps_of(method.tapped(), depth, teacher)


@dataclass(frozen=True)
class Learner:
    """A member of a cohort, as far as the teacher's passes depend on it.

    Attributes:
        pair: Name of its pair.
        method: Its method.
        length: Number of epochs in each stage.
    """

    pair: str
    method: Method
    length: cost.Length


class PassCounter:
    """Counts the teacher's passes per image for one cohort after the other."""

    def __init__(self, prepared: Prepared):
        self._prepared = prepared
        self._stored: dict[OutputsKey, set[tuple[int, str]]] = {}

    def count(self, learners: Sequence[Learner], recipe: Recipe, seed: int) -> int:
        """Return the number of passes that the next cohort needs.

        Without `teacher_cache`, this does not depend on earlier cohorts. With it, a view is passed
        again if a member reads a tap that no earlier cohort has.

        Args:
            learners: The members of the cohort, which share a teacher.
            recipe: Their recipe.
            seed: Their seed.
        """
        views = recipe.teacher_cache
        if views is None:
            return cost.teacher_passes([(one.method, one.length) for one in learners])

        needed = {
            (view, tap)
            for one in learners
            for view in cost.stored_views(one.method, one.length, views)
            for tap in taps_read(self._prepared, one.pair, one.method)
        }
        key = outputs_key(self._prepared, learners[0].pair, recipe, seed)
        stored = self._stored.setdefault(key, set())
        missing = needed - stored
        stored |= needed
        return len({(view, tap == SECOND) for view, tap in missing})
