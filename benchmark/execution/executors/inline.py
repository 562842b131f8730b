"""Trains cohorts one after another in this process."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.execution.executors.base import CohortSpec, Executor, Resources
from benchmark.execution.worker import train_cohort
from benchmark.training.progress import Progress


class InlineExecutor(Executor):
    """Trains one cohort after another, with the data and teachers already in memory."""

    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        """Train all cohorts in order."""
        for cohort in cohorts:
            train_cohort(cohort, resources, progress)
