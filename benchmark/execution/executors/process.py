"""Trains cohorts in a worker process, so that a cell that kills its process ends alone."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.errors import LeaveCohort
from benchmark.execution.deaths import Death
from benchmark.execution.executors.base import CellSpec, CohortSpec, Executor, Resources
from benchmark.execution.worker_handle import WorkerHandle
from benchmark.records.checkpoints import CellFolder
from benchmark.training.progress import Progress
from benchmark.training.recorder import record_reason

ATTEMPTS = 2
"""How often a cell may end its process before it has failed."""


class ProcessExecutor(Executor):
    """Trains one cohort after another in a worker process, which is replaced when it dies or hangs.

    The cell that was being trained then is suspected: the others are trained on without it, and it
    is tried again alone, from its checkpoint. Data and teachers are loaded by the worker itself.
    """

    def __init__(self) -> None:
        self._worker: WorkerHandle | None = None

    def warm_up(self) -> None:
        """Start the worker process."""
        self._present_worker()

    def close(self) -> None:
        """End the worker process."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        """Train all cohorts in order."""
        try:
            for cohort in cohorts:
                self._train(cohort, _Noting(progress))
        except BaseException:
            self.close()
            raise

    def _train(self, cohort: CohortSpec, progress: _Noting) -> None:
        """Train a cohort until each of its cells has ended."""
        deaths: Counter[str] = Counter()
        waiting = deque([cohort])

        while waiting:
            spec = waiting.popleft()
            death = self._present_worker().train(spec, progress)
            if death is None:
                continue

            self.close()
            left = [cell for cell in spec.cells if not progress.has_ended(spec, cell)]
            suspects = [cell for cell in left if death.cell in ("", Path(cell.folder).name)]
            others = [cell for cell in left if cell not in suspects]
            if others:
                waiting.appendleft(_with_cells(spec, others))

            for cell in suspects:
                deaths[cell.label] += 1
                _record(spec, cell, death)
                if deaths[cell.label] < ATTEMPTS:
                    progress.warn(f"{cell.label}: {death.reason}; it is tried again, alone")
                    waiting.append(_with_cells(spec, [cell]))
                else:
                    progress.failed(cell.label, death.reason)

    def _present_worker(self) -> WorkerHandle:
        if self._worker is None:
            self._worker = WorkerHandle()
        return self._worker


class _Noting(Progress):
    """Passes all events on, and notes which cells have started and ended."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def has_ended(self, spec: CohortSpec, cell: CellSpec) -> bool:
        """Return whether a cell has finished, failed or left."""
        return cell.label in self._ended or CellFolder(Path(spec.workspace) / cell.folder).done

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Pass on the first start of a cell."""
        if cell not in self._started:
            self._started.add(cell)
            self._progress.started(cell, epoch, epochs)

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Pass the event on.

        Raises:
            LeaveCohort: The listener removes the cell.
        """
        try:
            self._progress.epoch(cell, epoch, epochs, metrics)
        except LeaveCohort:
            self._ended.add(cell)
            raise

    def busy(self, cell: str, activity: str) -> None:
        """Pass the event on."""
        self._progress.busy(cell, activity)

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Pass the event on."""
        self._ended.add(cell)
        self._progress.finished(cell, metrics)

    def failed(self, cell: str, reason: str) -> None:
        """Pass the event on."""
        self._ended.add(cell)
        self._progress.failed(cell, reason)

    def warn(self, text: str) -> None:
        """Pass the event on."""
        self._progress.warn(text)


def _with_cells(spec: CohortSpec, cells: Iterable[CellSpec]) -> CohortSpec:
    return spec.model_copy(update={"profile": None, "cells": tuple(cells)})


def _record(spec: CohortSpec, cell: CellSpec, death: Death) -> None:
    """Record in the folder of a cell that its process died."""
    folder = CellFolder(Path(spec.workspace) / cell.folder)
    folder.begin(cell.configuration)
    record_reason(folder, death.reason, "\n".join((death.reason, "", death.details)))
