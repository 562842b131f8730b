"""The MLflow run of a cell or a teacher."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.files import read_json
from benchmark.measures import ACCURACY
from benchmark.records.journal import (
    EarlyEpoch,
    Epoch,
    Failed,
    Final,
    Record,
    Start,
    Trained,
    metrics_of,
)
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher
from benchmark.tracking.client import Point, mlflow_name
from benchmark.tracking.environments import environment_tags
from benchmark.tracking.models import Models, TrainedNetwork
from benchmark.tracking.projection import Projection, shown_count
from benchmark.tracking.run_inputs import UsedData, used_data, write_inputs
from benchmark.tracking.tags import (
    BEST_MINUS_LAST,
    BUDGET,
    KIND,
    LONGEST_TAG,
    PUBLISHED,
    ROW,
    RUN,
    SCHEMA,
    SCHEMA_VERSION,
    SYNCED,
    TEACHER,
    TEACHER_WEIGHTS,
    TOP1,
    VALIDATION_ACCURACY,
    WEIGHTS,
)

_ENVIRONMENT = "environment.json"
"""Name of the file of a run that contains its environment."""

Key = tuple[str, ...]
"""Key that runs are matched by; rows with the same settings share a cell, but not a run."""


def is_of_study(run: Any, study: str | None = None) -> bool:
    """Return whether a run says that it is of a cell, and of a study if one is named.

    A run whose tags somebody has deleted is no longer one of kdbench's, which writes another.
    """
    tags = run.data.tags
    return bool(tags.get("cell")) and study in (None, tags.get("study"))


def run_key(tags: Mapping[str, str]) -> Key:
    """Return the key of the run with these tags, some of which a user may have deleted."""
    cell, pair, method = (tags.get(name, "") for name in ("cell", "pair", "method"))
    return (TEACHER, cell) if method == TEACHER else (cell, pair, method)


@dataclass(frozen=True)
class PlannedRun:
    """The run of a cell or teacher, as described by the plan.

    Attributes:
        name: Name of the run in MLflow.
        files: The files of the cell or teacher.
        tags: Tags of the run.
        params: Settings and recipe of the run.
    """

    name: str
    files: CellFiles
    tags: Mapping[str, str]
    params: Mapping[str, str]

    @property
    def key(self) -> Key:
        """The key that the run is matched by."""
        return run_key(self.tags)


def planned_runs(study: StudyFolder, plan: Plan) -> list[PlannedRun]:
    """Return the runs of all teachers and cells of a plan, teachers first."""
    common = {SCHEMA: SCHEMA_VERSION, "study": plan.study, "dataset": plan.dataset}

    teachers = [_run_of_teacher(study, teacher, common) for teacher in plan.teachers]
    cells = [_run_of_cell(study, plan, cell, common) for cell in plan.cells]
    return teachers + cells


def _run_of_cell(
    study: StudyFolder, plan: Plan, cell: PlannedCell, common: Mapping[str, str]
) -> PlannedRun:
    trials = plan.trials.get(cell.row, 0)
    tags = {
        **common,
        KIND: RUN,
        "pair": cell.pair,
        "method": cell.row,
        ROW: cell.row if len(plan.pairs) == 1 else f"{cell.row}, {cell.pair}",
        BUDGET: f"{trials} trials" if trials else PUBLISHED,
        "teacher": cell.teacher,
        "teacher_id": cell.teacher_id,
        "student": cell.student,
        "seed": str(cell.seed),
        "cell": cell.id,
    }

    # The settings of a sum of methods are already grouped by method.
    settings = cell.settings if "+" in cell.method else {cell.method: cell.settings}
    content = {**settings, "recipe": cell.recipe, "length": cell.length}

    name = f"{cell.row} {cell.pair} s{cell.seed}"
    return PlannedRun(name, study.files(cell.folder), tags, dict(_params(content)))


def _run_of_teacher(
    study: StudyFolder, teacher: PlannedTeacher, common: Mapping[str, str]
) -> PlannedRun:
    pairs = ", ".join(teacher.pairs)
    tags = {
        **common,
        KIND: TEACHER,
        "method": TEACHER,
        "pair": pairs,
        "teacher": teacher.model,
        "teacher_id": teacher.teacher_id,
        "student": "",
        "seed": str(teacher.seed),
        "cell": teacher.id,
    }

    params = dict(_params({"recipe": teacher.recipe}))
    name = f"{TEACHER} {pairs} s{teacher.seed}"
    return PlannedRun(name, study.files(teacher.folder), tags, params)


def _params(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and text of each setting; names of nested settings are joined by dots."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _params(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield mlflow_name(prefix + name), text


@dataclass(frozen=True)
class CellRun(Projection):
    """The journal of a cell or teacher, and its run.

    Attributes:
        study: Folder of the study.
        planned: The run as described by the plan.
        records: All records of the journal, at least one.
        running: Whether a process is training the study.
        models: The models of the experiment.
    """

    study: StudyFolder
    planned: PlannedRun
    records: Sequence[Record]
    running: bool
    models: Models

    def is_shown_by(self, run: Any) -> bool:
        """Return whether a run started when the journal did and shows no more records than exist.

        Otherwise, the run shows an earlier training of the cell.
        """
        same_start = run.info.start_time == self.records[0].time
        return same_start and shown_count(run) <= len(self.records)

    def create(self) -> Any:
        """Create a run with the tags of the plan."""
        return self.client.start_run(
            self.experiment_id,
            start_time=self.records[0].time,
            tags={name: value for name, value in self.planned.tags.items() if value},
            run_name=self.planned.name,
        )

    def update(self, run: Any) -> bool:
        """Write the files, inputs, metrics, params, tags, status and model that a run lacks."""
        written = [
            write_inputs(self.client, run, self._used_data),
            self._write_records(run),
            self._write_labels(run),
            self.client.set_status(run, *self.status()),
            self._write_model(run),
        ]
        return any(written)

    @functools.cached_property
    def _configuration(self) -> dict[str, Any]:
        """The configuration of the cell; empty if there is none."""
        path = self.planned.files.config
        if not path.exists():
            return {}
        return read_json(path, remedy="delete the folder to train the cell again")

    @property
    def _used_data(self) -> list[UsedData]:
        return used_data(self._configuration)

    def _write_model(self, run: Any) -> bool:
        """Write the model of a finished run."""
        trained = next((record for record in self.records if isinstance(record, Trained)), None)
        final = self._final
        if trained is None or final is None:
            return False

        planned = self.planned
        teacher = self._configuration.get("teacher") or {}
        tags = {
            **planned.tags,
            WEIGHTS: trained.sha256,
            TEACHER_WEIGHTS: teacher.get("sha256", ""),
        }

        used = self._used_data
        network = TrainedNetwork(
            name=planned.name,
            tags={name: value for name, value in tags.items() if value},
            params=planned.params,
            points=list(self.points([final])),
            test=used[-1] if used else None,
        )
        return self.models.write(run, network)

    @property
    def _final(self) -> Final | None:
        return next((record for record in self.records if isinstance(record, Final)), None)

    def _write_records(self, run: Any) -> bool:
        """Write the files and metrics of records that a run does not show yet.

        The tag that counts the records is written afterwards. After a crash in between, the files
        and metrics are written again: MLflow keeps one of two points with equal key, step, time
        and value.
        """
        new = self.records[shown_count(run) :]
        if len(new) == len(self.records):
            files = (self.planned.files.config, self.study.split, self.study.study_file)
            for path in filter(lambda path: path.exists(), files):
                self.client.log_artifact(run.info.run_id, str(path))

        if any(isinstance(record, Start) for record in new):
            text = json.dumps(self._environments()[-1], indent=2, sort_keys=True)
            self.client.log_text(run.info.run_id, text, _ENVIRONMENT)

        self.client.log(run, self.points(new))
        return bool(new)

    def points(self, records: Sequence[Record]) -> Iterator[Point]:
        """Yield the finite metrics of records. Results are logged at the last epoch."""
        epochs = sum(isinstance(record, Epoch) for record in self.records)

        for record in records:
            step = record.epoch + 1 if isinstance(record, EarlyEpoch | Epoch) else epochs
            metrics = metrics_of(record)
            if isinstance(record, Final):
                metrics = metrics | best_minus_last(self.records)

            for key, value in metrics.items():
                if math.isfinite(value):
                    yield Point(mlflow_name(key), value, record.time, step)

    def _write_labels(self, run: Any) -> bool:
        return self.client.label(run, self.planned.params, self.all_tags())

    def all_tags(self) -> dict[str, str]:
        """Return the tags that the run has when it shows all records."""
        last = self.records[-1]
        reason = last.reason if isinstance(last, Failed) else ""

        tags = environment_tags(self._environments()) | {"reason": reason, TOP1: self._top1()}
        shortened = {name: value[:LONGEST_TAG] for name, value in tags.items()}
        return {**self.planned.tags, **shortened, **self._stopped(), SYNCED: str(len(self.records))}

    def _stopped(self) -> dict[str, str]:
        """Return a tag if the time limit ended the training: the epochs trained and planned."""
        stops = [record.stopped for record in self.records if isinstance(record, Trained)]
        if not stops or stops[-1] is None:
            return {}
        return {"stopped": f"{stops[-1].after}/{stops[-1].planned}"}

    def _top1(self) -> str:
        """Return the rounded test accuracy; empty until it is known."""
        final = self._final
        accuracy = math.nan if final is None else final.metrics.get(ACCURACY.key, math.nan)
        return f"{accuracy:.{ACCURACY.digits}f}" if math.isfinite(accuracy) else ""

    def _environments(self) -> list[dict[str, str]]:
        return [record.environment for record in self.records if isinstance(record, Start)]

    def status(self) -> tuple[str, int]:
        """Return MLflow's status, and the time in milliseconds of the record that determines it."""
        final = self._final
        if final is not None:
            return "FINISHED", final.time

        last = self.records[-1]
        if isinstance(last, Failed):
            return "FAILED", last.time

        return "RUNNING" if self.running else "KILLED", last.time


def best_minus_last(records: Sequence[Record]) -> dict[str, float]:
    """Return the metric `BEST_MINUS_LAST`; nothing if the last epoch has no validation accuracy."""
    epochs = {record.epoch: record.metrics for record in records if isinstance(record, Epoch)}
    accuracies = {
        epoch: metrics[VALIDATION_ACCURACY]
        for epoch, metrics in epochs.items()
        if math.isfinite(metrics.get(VALIDATION_ACCURACY, math.nan))
    }

    last = max(epochs, default=-1)
    if last not in accuracies:
        return {}

    return {BEST_MINUS_LAST: max(accuracies.values()) - accuracies[last]}
