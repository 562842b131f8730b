"""Trains cohorts in worker processes, so that a cell that kills its process ends alone."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import ClassVar

import torch

from benchmark.errors import LeaveCohort
from benchmark.execution.deaths import Death
from benchmark.execution.executors.base import CellSpec, CohortSpec, Executor, Resources
from benchmark.execution.machine import devices
from benchmark.execution.worker_handle import POLL_SECONDS, STOP_SECONDS, WorkerHandle
from benchmark.records.checkpoints import CellFolder
from benchmark.training.progress import Progress
from benchmark.training.recorder import record_reason

ATTEMPTS = 2
"""How often a cell may end its process before it has failed."""


class ProcessesExecutor(Executor):
    """Trains as many cohorts at once as there are workers, each of which trains one after another.

    A worker that dies or hangs is replaced. The cell that it was training then is suspected: the
    others are trained on without it. Once all of them have ended, it is tried again, alone, from
    its checkpoint. Workers load data and teachers themselves.
    """

    parallel: ClassVar[bool] = True

    def __init__(self, workers: int | None = None) -> None:
        """Create an executor that has started nothing yet.

        Args:
            workers: Number of worker processes; None for one.
        """
        super().__init__(workers)
        self._workers = workers or 1
        self._pool: dict[int, WorkerHandle] = {}

    @property
    def workers(self) -> int:
        """Number of cohorts that are trained at once."""
        return self._workers

    def warm_up(self) -> None:
        """Start the first worker, which imports what it needs while the study is prepared."""
        self._present(0)

    def close(self) -> None:
        """End all workers, which have a few seconds for it together."""
        for worker in self._pool.values():
            worker.ask_to_stop()

        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._pool.values():
            worker.stop(max(0.0, deadline - time.monotonic()))
        self._pool = {}

    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        """Train all cohorts; each is begun in order, as soon as a worker is free."""
        try:
            self._run(deque(cohorts), _Noting(progress))
        except BaseException:
            self.close()
            raise

    def _run(self, waiting: deque[CohortSpec], progress: _Noting) -> None:
        """Train cohorts until each of their cells has ended."""
        deaths: Counter[str] = Counter()
        training: dict[int, CohortSpec] = {}
        retried: deque[CohortSpec] = deque()

        while waiting or training or retried:
            if not waiting and not training:
                waiting.append(retried.popleft())  # alone, also in memory
            self._begin(waiting, training)
            busy = {number: self._pool[number] for number in training}
            connection.wait([worker.connection for worker in busy.values()], POLL_SECONDS)

            for number, worker in busy.items():
                end = worker.attend(progress)
                if end is None:
                    continue

                spec = training.pop(number)
                if end.death is not None:
                    self._pool.pop(number).stop()
                    waiting.extendleft(reversed(_without_suspects(spec, end.death, progress)))
                    retried.extend(_retried(spec, end.death, deaths, progress))

    def _begin(self, waiting: deque[CohortSpec], training: dict[int, CohortSpec]) -> None:
        """Give the next cohorts to the workers that are free."""
        while waiting and len(training) < self._workers:
            spec = waiting.popleft()
            number = next(each for each in range(len(training) + 1) if each not in training)
            own = spec if self._workers == 1 else _on_device(spec, number)
            self._present(number).begin(own)
            training[number] = spec

    def _present(self, number: int) -> WorkerHandle:
        """Return a worker, which is started if it is not running."""
        worker = self._pool.get(number)
        if worker is not None and worker.has_ended:
            worker.stop()
            worker = None

        if worker is None:
            worker = self._pool[number] = WorkerHandle(number)
        return worker


def _on_device(spec: CohortSpec, number: int) -> CohortSpec:
    """Return a cohort on the device of a worker, if the workers share several."""
    found = devices(spec.device)
    device = found[number % len(found)]
    known = dict(spec.environment)
    if device.startswith("cuda"):
        known["device_name"] = torch.cuda.get_device_name(device)
    return spec.model_copy(update={"device": device, "environment": known})


def _suspects(spec: CohortSpec, death: Death, progress: _Noting) -> list[CellSpec]:
    """Return the cells that may have ended their process."""
    left = [cell for cell in spec.cells if not progress.has_ended(spec, cell)]
    return [cell for cell in left if death.cell in ("", Path(cell.folder).name)]


def _without_suspects(spec: CohortSpec, death: Death, progress: _Noting) -> list[CohortSpec]:
    """Return what is left of a cohort without them, if anything is."""
    suspects = _suspects(spec, death, progress)
    others = [
        cell for cell in spec.cells if cell not in suspects and not progress.has_ended(spec, cell)
    ]
    return [_with_cells(spec, others)] if others else []


def _retried(
    spec: CohortSpec, death: Death, deaths: Counter[str], progress: _Noting
) -> list[CohortSpec]:
    """Record a death with each suspect, and return those that are tried again, each alone."""
    again = []
    for cell in _suspects(spec, death, progress):
        deaths[cell.label] += 1
        _record(spec, cell, death)
        if deaths[cell.label] < ATTEMPTS:
            progress.warn(f"{cell.label}: {death.reason}; it is tried again, alone")
            again.append(_with_cells(spec, [cell]))
        else:
            progress.failed(cell.label, death.reason)
    return again


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
