"""The MLflow run of a trial: its settings, its objective, and means over its seeds."""

from __future__ import annotations

import functools
import json
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Record
from benchmark.records.search import SearchRecord, TrialRecord
from benchmark.tracking.client import Point, mlflow_name
from benchmark.tracking.projection import Projection, shown_count
from benchmark.tracking.search_views import seed_objective
from benchmark.tracking.tags import (
    COMPUTE,
    KIND,
    LONGEST_TAG,
    OBJECTIVE,
    SCHEMA,
    SCHEMA_VERSION,
    SEARCH,
    SYNCED,
    TRIAL,
    TRIAL_NUMBER,
)


class State(NamedTuple):
    """The state of a trial.

    Attributes:
        status: MLflow's status.
        word: Value of the tag `state`.
    """

    status: str
    word: str


STATES = {
    "COMPLETE": State("FINISHED", "complete"),
    "FAIL": State("FAILED", "failed"),
    "PRUNED": State("KILLED", "pruned"),
    "RUNNING": State("RUNNING", "running"),
}
"""States by Optuna's names."""

INTERRUPTED = State("KILLED", "interrupted")
"""State of a trial that was running when its process ended."""


def search_tags(record: SearchRecord) -> dict[str, str]:
    """Return the tags of all runs of a search."""
    return {
        SCHEMA: SCHEMA_VERSION,
        SEARCH: record.key,
        "study": record.study,
        "dataset": record.dataset,
        "pair": record.pair,
        "method": record.row,
        "teacher": record.teacher,
        "student": record.student,
    }


@dataclass(frozen=True)
class TrialRun(Projection):
    """A trial with the journals of its seeds, and its run.

    Attributes:
        search: The search that the trial belongs to.
        trial: Record of the trial.
        journals: Journals of the seeds that have started.
        running: Whether a process is running the search.
    """

    search: SearchRecord
    trial: TrialRecord
    journals: Sequence[Sequence[Record]]
    running: bool

    def is_shown_by(self, run: Any) -> bool:
        """Return whether nothing in a run contradicts the record and the journals."""
        count = shown_count(run)
        if count:
            shown = self.epochs[:count]
            checksum = run.data.tags[SYNCED].partition(" ")[2]
            if len(shown) < count or _checksum(shown) != checksum:
                return False

        params = self._params()
        if any(params.get(key) != value for key, value in run.data.params.items()):
            return False

        objectives = self._objectives()
        return all(
            objectives.get(key) == value
            for key, value in run.data.metrics.items()
            if key == OBJECTIVE or key.startswith(f"{OBJECTIVE}/")
        )

    def create(self) -> Any:
        """Create a run with the tags of the search."""
        now = time.time_ns() // 1_000_000
        number = self.trial.number

        published = " (published)" if self.trial.source == "published" else ""
        return self.client.start_run(
            self.experiment_id,
            start_time=min((records[0].time for records in self.journals), default=now),
            tags={**search_tags(self.search), KIND: TRIAL, TRIAL_NUMBER: str(number)},
            run_name=f"trial {number}{published}",
        )

    def update(self, run: Any) -> bool:
        """Write the metrics, params, tags and status that a run lacks."""
        state = self._state()
        logged = self.client.log(run, self._new_points(run))
        labelled = self.client.label(run, self._params(), self._tags(state))
        ended = self.client.set_status(run, state.status, self._end(run))

        return logged or labelled or ended

    @functools.cached_property
    def epochs(self) -> list[list[Point]]:
        """The means over the seeds, as points, for every epoch that all seeds have.

        A trial in progress has none until all of its seeds have started.
        """
        waits = self.trial.state == "RUNNING" and len(self.journals) < len(self.search.seeds)
        if waits or not self.journals:
            return []

        first, *others = [_by_epoch(records) for records in self.journals]
        return [
            _means([record, *(seed[key] for seed in others)])
            for key, record in first.items()
            if all(key in seed for seed in others)
        ]

    @property
    def points(self) -> list[Point]:
        """The points of all epochs."""
        return [point for epoch in self.epochs for point in epoch]

    def _new_points(self, run: Any) -> list[Point]:
        """Return the points that a run lacks.

        The tag that counts the epochs is written afterwards. After a crash in between, the points
        are written again: MLflow keeps one of two points with equal key, step, time and value.
        """
        lacking = self.epochs[shown_count(run) :]
        points = [point for epoch in lacking for point in epoch]

        end = self._end(run)
        last_step = max((point.step for point in self.points), default=0)

        for key, value in (self._objectives() | self._compute()).items():
            if run.data.metrics.get(key) != value:
                points.append(Point(key, value, end, last_step))

        return points

    def _objectives(self) -> dict[str, float]:
        """Return the objective and its value for each seed, if they are finite."""
        values = {seed_objective(seed): value for seed, value in self.trial.values.items()}
        if self.trial.value is not None:
            values[OBJECTIVE] = self.trial.value

        return {key: float(value) for key, value in values.items() if math.isfinite(value)}

    def _compute(self) -> dict[str, float]:
        """Return the compute of a trial that has ended."""
        if self.trial.state == "RUNNING":
            return {}

        return {COMPUTE: float(self.trial.compute_tmac)}

    def _params(self) -> dict[str, str]:
        return {mlflow_name(name): as_text(value) for name, value in self.trial.params.items()}

    def _tags(self, state: State) -> dict[str, str]:
        number = str(self.trial.number)
        cells = [cell for _, cell in sorted(self.trial.cells.items())]

        return {
            **search_tags(self.search),
            KIND: TRIAL,
            TRIAL_NUMBER: number,
            "source": self.trial.source,
            "state": state.word,
            "reason": self._reason() if state.word == "failed" else "",
            "cells": ", ".join(cells),
            "optuna.study": self.search.optuna_study or self.search.key,
            "optuna.trial": number,
            SYNCED: f"{len(self.epochs)} {_checksum(self.epochs)}",
        }

    def _reason(self) -> str:
        """Return the reasons why seeds failed."""
        last = [records[-1] for records in self.journals]
        reasons = {record.reason for record in last if isinstance(record, Failed)}
        return "; ".join(sorted(reasons))[:LONGEST_TAG]

    def _state(self) -> State:
        if self.trial.state == "RUNNING" and not self.running:
            return INTERRUPTED

        return STATES[self.trial.state]

    def _end(self, run: Any) -> int:
        """Return the time of the last record in milliseconds."""
        return max((records[-1].time for records in self.journals), default=run.info.start_time)


_EpochKey = tuple[str, int]
"""Kind of a record and number of its epoch."""


def _by_epoch(records: Sequence[Record]) -> dict[_EpochKey, EarlyEpoch | Epoch]:
    return {
        (record.kind, record.epoch): record
        for record in records
        if isinstance(record, EarlyEpoch | Epoch)
    }


def _means(records: Sequence[EarlyEpoch | Epoch]) -> list[Point]:
    """Return the means of one epoch over all seeds, at the time when the last seed finished it.

    Metrics that are missing or not finite for any seed are omitted.
    """
    moment = max(record.time for record in records)
    step = records[0].epoch + 1
    points = []

    for key in records[0].metrics:
        values = [record.metrics.get(key, math.nan) for record in records]
        if all(map(math.isfinite, values)):
            mean = math.fsum(values) / len(values)
            points.append(Point(mlflow_name(key), mean, moment, step))

    return points


def _checksum(epochs: Sequence[Sequence[Point]]) -> str:
    return f"{zlib.crc32(json.dumps(epochs).encode()):08x}"


def as_text(value: Any) -> str:
    """Return the value of a setting as MLflow stores it."""
    return value if isinstance(value, str) else json.dumps(value)
