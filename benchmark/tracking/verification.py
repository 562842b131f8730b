"""Compares the runs of a study in MLflow with the journals, without writing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark import locks
from benchmark.errors import InputError
from benchmark.measures import BY_KEY
from benchmark.records.integrity import read_sound_journal
from benchmark.records.journal import Record
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.records.workspace_id import recorded_identity
from benchmark.study.plan import Plan, read_plan
from benchmark.tracking.cell_run import CellRun, Key, PlannedRun, planned_runs
from benchmark.tracking.client import Client
from benchmark.tracking.models import Models
from benchmark.tracking.ownership import ownership
from benchmark.tracking.projection import shown_count
from benchmark.tracking.store import Store
from benchmark.tracking.sync import is_complete, runs_by_key, runs_of_cells
from benchmark.tracking.tags import KIND, SUPERSEDED

_TEST_METRICS = "test/"
"""Prefix of the metrics that were measured on the test data."""


@dataclass(frozen=True)
class Difference:
    """What a run shows differently from its journal.

    Attributes:
        text: The run and the difference, in a line.
        synced: Whether the next sync corrects it.
    """

    text: str
    synced: bool = False


@dataclass
class Compared:
    """The result of a comparison.

    Attributes:
        runs: Number of runs that were compared.
        behind: Number of journals with records or tags that no run shows yet.
        unplanned: Number of runs of cells that are no longer in the plan.
        differences: How runs differ from their journals.
    """

    runs: int = 0
    behind: int = 0
    unplanned: int = 0
    differences: list[Difference] = field(default_factory=list)


def compare_with_mlflow(study: StudyFolder, store: Store) -> Compared:
    """Compare every metric, setting and tag of the runs of a study with the journals.

    Damaged journals are passed over.

    Args:
        study: Folder of the study.
        store: The store that may contain its runs.

    Raises:
        InputError: The plan is damaged, or the store cannot be used.
        TrackingError: The store cannot be reached or fails.
    """
    plan = read_plan(study.plan)
    all_planned = planned_runs(study, plan)
    journals = _journals(all_planned)
    client, experiment = _find_experiment(store, plan.experiment)
    if client is None or experiment is None:
        return Compared(behind=len(journals))

    identity = experiment.experiment_id
    owned = ownership(recorded_identity(Workspace(study.path.parent)), study)
    found = client.search(identity, f"tags.study = '{plan.study}'")
    recorded = [run for run in runs_of_cells(found) if owned.owns(run)]
    current = runs_by_key(run for run in recorded if run.data.tags[KIND] != SUPERSEDED)
    models = Models(client, identity)
    running = locks.running(study.path)

    compared = Compared()
    for planned, records in journals:
        cell = CellRun(client, identity, study, planned, records, running, models)
        _compare(cell, current.get(planned.key, []), compared)

    if is_complete(plan):
        for key in sorted(current.keys() - {planned.key for planned in all_planned}):
            _note_unplanned(key, current[key], plan, compared)
    return compared


def _note_unplanned(key: Key, runs: Sequence[Any], plan: Plan, compared: Compared) -> None:
    """Note runs that no row of the plan has: of earlier plans, or with tags that were edited."""
    identities = {cell.id for cell in plan.cells} | {teacher.id for teacher in plan.teachers}
    if "" not in key and not identities.intersection(key):
        compared.unplanned += len(runs)
        return

    for run in runs:
        text = f"run {run.info.run_id} ({run.info.run_name}) is of no row of the plan"
        compared.differences.append(Difference(text, synced=True))


def _journals(all_planned: Iterable[PlannedRun]) -> list[tuple[PlannedRun, Sequence[Record]]]:
    """Return the planned runs whose journals are sound and not empty, with their records."""
    journals: list[tuple[PlannedRun, Sequence[Record]]] = []
    for planned in all_planned:
        try:
            records = read_sound_journal(planned.files)
        except InputError:  # damaged or unreadable, which the check of the files reports
            continue
        if records:
            journals.append((planned, records))

    return journals


def _find_experiment(store: Store, name: str) -> tuple[Client | None, Any]:
    """Return a client and the experiment, each None if it does not exist."""
    if store.database is not None and not store.database.exists():
        return None, None

    client = Client(store)
    return client, client.get_experiment_by_name(name)


def _compare(cell: CellRun, runs: Sequence[Any], compared: Compared) -> None:
    """Add the differences between a journal and the run that shows it."""
    run = next(filter(cell.is_shown_by, runs), None)
    if run is None:
        compared.behind += not runs
        for other in runs:
            text = f"{_name(cell, other)} is not of the journal on disk"
            compared.differences.append(Difference(text, synced=True))
        return

    compared.runs += 1
    compared.behind += _is_behind(cell, run)
    lasting = [*_metric_differences(cell, run), *_param_differences(cell, run)]
    for kind, texts in ((False, lasting), (True, _tag_differences(cell, run))):
        for text in texts:
            compared.differences.append(Difference(f"{_name(cell, run)}: {text}", kind))


def _is_behind(cell: CellRun, run: Any) -> bool:
    """Return whether a run lacks records, or tags that an earlier version did not write."""
    tags = run.data.tags
    return shown_count(run) < len(cell.records) or any(
        value and not tags.get(name) for name, value in cell.all_tags().items()
    )


def _name(cell: CellRun, run: Any) -> str:
    return f"run {run.info.run_id} ({cell.planned.name})"


def _metric_differences(cell: CellRun, run: Any) -> Iterator[str]:
    """Yield differences in the newest value and in the history of each metric."""
    expected: dict[str, set[tuple[int, int, float]]] = {}
    for point in cell.points(cell.records[: shown_count(run)]):
        expected.setdefault(point.key, set()).add((point.step, point.time, point.value))

    for key, values in expected.items():
        _, _, last = max(values)
        newest = run.data.metrics.get(key)
        if newest != last:
            yield f"metric {key} is {newest}, but the journal says {last}"
            continue

        history = cell.client.get_metric_history(run.info.run_id, key)
        found = {(point.step, point.timestamp, point.value) for point in history}
        if found != values:
            step = min(found ^ values)[0]
            yield f"metric {key} differs from the journal, first at step {step}"

    for key in sorted(run.data.metrics.keys() - expected.keys()):
        if key in BY_KEY or key.startswith(_TEST_METRICS):
            yield f"metric {key} is {run.data.metrics[key]}, but the journal has none"


def _param_differences(cell: CellRun, run: Any) -> Iterator[str]:
    for name, value in cell.planned.params.items():
        found = run.data.params.get(name)
        if found != value:
            yield f"param {name} is {found!r}, but should be {value!r}"


def _tag_differences(cell: CellRun, run: Any) -> Iterator[str]:
    """Yield differences in the tags and the status of a run that shows the whole journal."""
    if shown_count(run) < len(cell.records):
        return

    for name, value in cell.all_tags().items():
        found = run.data.tags.get(name, "")
        if found and found != value:
            yield f"tag {name} is {found!r}, but should be {value!r}"

    status, _ = cell.status()
    if run.info.status != status:
        yield f"status is {run.info.status}, but should be {status}"
