"""What a study set out to compare, and the names of rows that stand for something: the teacher, plain distillation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SUFFIX = " (tuned)"
"""Behind a row's name, where it has the settings that a search found."""

TEACHER = "teacher"
"""Row name of the teacher."""

KD = "kd"
"""Row name of plain distillation, which every other method is compared with where a study has it."""


@dataclass(frozen=True)
class Plan:
    """What the study set out to compare: the rows and seeds that its leaderboard must hold.

    `methods` are row names in the study's order; `baseline` is the one that trains the student alone. `not_applicable`
    maps "pair/method" to a reason. `datasets` maps a pair to its data set, for titles only.
    `protocol` is `legacy` where no images were held out for validation. `trials` maps a method to the number of trials
    that its settings were searched with; one that it lacks has published settings. `search_tmac` maps "pair/method" to
    the compute of that search, where it is known. `altered` names rows whose settings the study's author changed, or
    that bear the name of another method: they have no published accuracy.

    Raises:
        ValueError: pairs, methods or seeds are empty or hold one twice, a method is named like the teacher's row,
            `select` is unknown, or `baseline` is not among `methods`.
    """

    study: str
    question: str
    pairs: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    select: str
    baseline: str | None
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "validated"
    trials: Mapping[str, int] = field(default_factory=dict)
    search_tmac: Mapping[str, float] = field(default_factory=dict)
    altered: Sequence[str] = ()

    def __post_init__(self) -> None:
        named: dict[str, tuple[Any, ...]] = {
            "pairs": self.pairs,
            "methods": self.methods,
            "seeds": self.seeds,
        }
        for name, values in named.items():
            if not values:
                raise ValueError(f"study {self.study!r} has no {name}")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} of study {self.study!r} holds a value twice: {values}")
        if self.select not in ("last", "best_val"):
            raise ValueError(f"select must be 'last' or 'best_val', not {self.select!r}")
        if TEACHER in self.methods:
            raise ValueError(
                f"{TEACHER!r} is the name of the teacher's row: no method of a study can have it"
            )
        if self.baseline is not None and self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is not among the methods {self.methods}")

    def why_not(self, pair: str, method: str) -> str | None:
        """The reason why `method` cannot run on `pair`, or None where it can."""
        return self.not_applicable.get(f"{pair}/{method}")

    @property
    def budgets(self) -> list[int]:
        """The numbers of trials that rows were tuned with, highest first; empty where all settings are published."""
        return sorted({count for count in self.trials.values() if count}, reverse=True)

    @property
    def unequal(self) -> str:
        """Why no tuned row has a rank, where they were tuned with unequal effort; else empty."""
        if len(self.budgets) < 2:
            return ""
        counts = ", ".join(map(str, self.budgets))
        return f"rows were tuned with different numbers of trials ({counts}); they are not ranked"

    def published(self, method: str) -> str | None:
        """The row with published settings that a tuned row belongs to; None for other rows, or if there is none."""
        name = method.removesuffix(SUFFIX)
        return name if name != method and self.trials.get(method) and name in self.methods else None

    @property
    def alone(self) -> frozenset[str]:
        """The rows that train the student alone, with published or tuned settings."""
        return frozenset(
            name for name in self.methods if (self.published(name) or name) == self.baseline
        )

    def rival(self, method: str, reference: str | None) -> str | None:
        """The row that a method is tested against: the reference, or its tuned row, that took equally many trials.

        None if there is none, or if the method is the reference itself, tuned or not.
        """
        name = (reference or "").removesuffix(SUFFIX)
        if method.removesuffix(SUFFIX) == name:
            return None
        equal = self.trials.get(method, 0)
        rows = (
            row
            for row in (name, name + SUFFIX)
            if row in self.methods and self.trials.get(row, 0) == equal
        )
        return next(rows, None)
