"""The search for one row's settings on one pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

import methods
from benchmark.search.spaces import nested
from benchmark.study.schema import Found, Pair, Row
from methods import Method, Setting


@dataclass
class Hunt:
    """The search for one row's settings on one pair.  space: by flat name; published: what the first trial takes."""

    pair: Pair
    row: Row
    key: str
    space: dict[str, Setting]
    published: dict[str, Any]
    study: optuna.Study
    storage: optuna.storages.BaseStorage

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.pair.name} / {self.row.name}"

    def asked(self) -> list[FrozenTrial]:
        """The trials whose settings are chosen, by number."""
        return self.study.get_trials(deepcopy=False)


@dataclass(frozen=True)
class Best:
    """What a search came to.  published, value: the objective of the first and of the best trial."""

    pair: str
    row: str
    key: str
    trials: int
    found: Found
    published: float | None
    value: float
    number: int
    compute_tmac: float


def trial_label(hunt: Hunt, number: int, seed: int) -> str:
    """The name of a training of a trial, for people."""
    return f"{hunt.pair.name} / {hunt.row.name} / trial {number} / seed {seed}"


def trial_method(row: Row, params: Mapping[str, Any]) -> Method:
    """The method of a row with settings by flat name."""
    return methods.create(row.method, **nested(params, row).settings)
