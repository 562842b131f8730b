"""Projects records on disk to runs in MLflow.

The journals are the source of truth, and MLflow shows a copy. A projection can therefore be written
at any time and any number of times, can be killed at any moment, and can refill a lost store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmark.tracking.client import Client
from benchmark.tracking.tags import KIND, SUPERSEDED, SYNCED

Outcome = Literal["created", "updated", "unchanged"]
"""The effect of a sync on a run."""


@dataclass(frozen=True)
class Synced:
    """The effect of a sync on an experiment.

    Attributes:
        experiment_id: MLflow's id of the experiment; None if there is nothing to show yet.
        created: Number of new runs.
        updated: Number of runs that were written to, including newly superseded ones.
        unchanged: Number of runs that were up to date.
    """

    experiment_id: str | None
    created: int = 0
    updated: int = 0
    unchanged: int = 0

    @classmethod
    def count(cls, experiment_id: str, outcomes: Sequence[Outcome]) -> Synced:
        """Return the number of runs with each outcome."""
        return cls(
            experiment_id,
            created=outcomes.count("created"),
            updated=outcomes.count("updated"),
            unchanged=outcomes.count("unchanged"),
        )

    def __add__(self, other: Synced) -> Synced:
        return Synced(
            self.experiment_id,
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )


@dataclass(frozen=True)
class Projection(ABC):
    """Records of one cell or trial, and the run in MLflow that shows them.

    Attributes:
        client: Client of the store.
        experiment_id: MLflow's id of the run's experiment.
    """

    client: Client
    experiment_id: str

    def write(self, candidates: Sequence[Any]) -> Outcome:
        """Write what the run lacks, or create a new run.

        Args:
            candidates: Runs of the same cell or trial. All except the first that does not
                contradict the records are superseded.
        """
        run = next(filter(self.is_shown_by, candidates), None)
        others = [candidate for candidate in candidates if candidate is not run]
        superseded = [self.client.supersede(other) for other in others]
        if run is None:
            self.update(self.create())
            return "created"

        claimed = self.client.claim(run)
        changed = self.update(run) or claimed
        return "updated" if changed or any(superseded) else "unchanged"

    @abstractmethod
    def is_shown_by(self, run: Any) -> bool:
        """Return whether nothing in a run contradicts the records, some of which it may lack."""

    @abstractmethod
    def create(self) -> Any:
        """Create a run without records."""

    @abstractmethod
    def update(self, run: Any) -> bool:
        """Write what a run lacks; return whether it lacked anything."""


def shown_count(run: Any) -> int:
    """Return how many records of its journals a run shows; 0 if somebody has edited the tag."""
    count = run.data.tags.get(SYNCED, "").partition(" ")[0]
    try:
        return max(int(count), 0)
    except ValueError:
        return 0


def superseded_last(runs: Sequence[Any]) -> list[Any]:
    """Return runs in a fixed order, with superseded runs last."""
    return sorted(runs, key=lambda run: (run.data.tags.get(KIND) == SUPERSEDED, run.info.run_id))
