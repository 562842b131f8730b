"""Copies the searches of a study to MLflow: a run for each trial, a report and saved views.

As with a study's own runs, the files are the source of truth: see `benchmark.tracking.projection`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import locks
from benchmark.errors import DamageError, InputError, TrackingError, first_line
from benchmark.printable import print_message
from benchmark.records.integrity import read_sound_journal
from benchmark.records.journal import Record
from benchmark.records.layout import SearchFolder, Workspace
from benchmark.records.search import SearchRecord, TrialRecord, read_search
from benchmark.records.workspace_id import identify
from benchmark.tracking import report_run
from benchmark.tracking.client import Client
from benchmark.tracking.experiments import open_experiment
from benchmark.tracking.ownership import Ownership, clash, ownership
from benchmark.tracking.projection import Outcome, Synced, superseded_last
from benchmark.tracking.search_report import summary, write_search_report
from benchmark.tracking.search_views import search_views
from benchmark.tracking.store import Store
from benchmark.tracking.tags import (
    LONGEST_TAG,
    NOTE,
    REPORT,
    SEARCH,
    STUDY,
    TRIAL_NUMBER,
    WORKSPACE,
)
from benchmark.tracking.trial_run import TrialRun
from benchmark.tracking.views import tag

Warn = Callable[[str], None]

_KEY_PATTERN = "[0-9a-f]" * 12
"""Glob pattern of a search's key."""


def sync_search(folder: Path, store: Store, *, warn: Warn = print_message) -> dict[str, Synced]:
    """Copy the records and journals of searches to MLflow; write only what is missing there.

    Trials that have not started get no run. If several searches have the same pair and row, the
    experiment's description and views show the newest one.

    Args:
        folder: Folder of a study's searches.
        store: Where the runs are written.
        warn: Receives a message if views cannot be written, if a journal is damaged, or if an
            experiment has runs of other workspaces. The runs of such a trial, and those of others,
            are left alone.

    Returns:
        The effect on each experiment, by name. Reports count as runs.

    Raises:
        TrackingError: The store cannot be reached or fails. What was written so far is kept, and
            the next sync writes the rest.
        InputError: The record of a search is damaged, or an experiment belongs to another study.
    """
    if not folder.exists():
        return {}

    searches = SearchFolder(folder)
    results: dict[str, Synced] = {}
    with FileLock(searches.sync_lock):
        running = locks.running(folder)
        owned = ownership(identify(Workspace(folder.parent.parent)), searches)
        records = _read_records(searches)
        newest = {record.experiment: record.key for record in records}

        for record in records:
            synced = _sync_one(
                searches,
                record,
                store,
                running,
                record.key == newest[record.experiment],
                owned,
                warn,
            )
            before = results.get(record.experiment, Synced(synced.experiment_id))
            results[record.experiment] = before + synced

    return results


def _read_records(folder: SearchFolder) -> list[SearchRecord]:
    """Return all searches, oldest first."""
    paths = folder.path.glob(folder.record(_KEY_PATTERN).name)
    by_age = sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [read_search(path) for path in by_age]


def recorder(store: Store | None, warn: Warn) -> Callable[[Path], None]:
    """Return a function that writes searches to MLflow, and warns if that fails.

    Args:
        store: The store; None to record nothing.
        warn: Receives a message.
    """

    def record(folder: Path) -> None:
        if store is None:
            return
        try:
            sync_search(folder, store, warn=warn)
        except (TrackingError, InputError) as error:
            warn(f"search not in MLflow yet: {error}; run `kdbench tune` again to record it")

    return record


def _sync_one(
    folder: SearchFolder,
    record: SearchRecord,
    store: Store,
    running: bool,
    newest: bool,
    owned: Ownership,
    warn: Warn,
) -> Synced:
    """Copy one search to MLflow."""
    client, experiment = open_experiment(
        store, record.experiment, {STUDY: record.study}, owned.workspace
    )
    identity = experiment.experiment_id
    runs = client.search(identity, f"{tag(SEARCH)} = '{record.key}'")
    if store.is_inside(folder.path.parent.parent):
        client.adopt(runs)
    recorded = _by_number(run for run in runs if owned.owns(run))
    others = owned.others(runs)
    if others:
        warn(clash(record.experiment, store, others))
    reports = recorded.pop(REPORT, [])

    outcomes: list[Outcome] = []
    curves: set[str] = set()
    times: list[int] = []
    for trial in record.trials:
        try:
            journals = _journals(folder, trial)
        except DamageError as error:
            warn(f"{record.experiment}, trial {trial.number}: {error}; its run stays as it is")
            recorded.pop(str(trial.number), None)
            continue
        if not journals and trial.state == "RUNNING":
            continue

        projection = TrialRun(client, identity, record, trial, journals, running)
        outcomes.append(projection.write(recorded.pop(str(trial.number), [])))
        curves |= {point.key for point in projection.points}
        times += [entry.time for records in journals for entry in records]

    started = bool(outcomes)

    for old in recorded.values():
        outcomes += ["updated" for run in old if client.supersede(run)]

    if started:
        outcomes.append(write_search_report(client, identity, folder, record, reports, times))
    owner = experiment.tags.get(WORKSPACE, owned.workspace)
    if started and newest and (not others or owner == owned.workspace):
        note = summary(record)[:LONGEST_TAG]
        tags = {SEARCH: record.key, NOTE: note, WORKSPACE: owned.workspace}
        client.tag_experiment(experiment, tags)
        _write_views(client, experiment, record, curves, warn)

    return Synced.count(identity, outcomes)


def _by_number(runs: Iterable[Any]) -> dict[str, list[Any]]:
    """Return the runs of a search by the number of the trial or `REPORT`."""
    groups: dict[str, list[Any]] = {}
    for run in superseded_last(list(runs)):
        groups.setdefault(run.data.tags.get(TRIAL_NUMBER, REPORT), []).append(run)

    return groups


def _journals(folder: SearchFolder, trial: TrialRecord) -> Sequence[Sequence[Record]]:
    """Return the journals of those seeds of a trial that have started.

    Raises:
        DamageError: A record is damaged or missing.
    """
    cells = [folder.files(cell) for _, cell in sorted(trial.cells.items())]
    journals = [read_sound_journal(cell) for cell in cells]
    return [records for records in journals if records]


def _write_views(
    client: Client, experiment: Any, record: SearchRecord, curves: Collection[str], warn: Warn
) -> None:
    """Write the views of a search. Their format is undocumented, so a failure only warns."""
    try:
        report_run.write_views(client, experiment, search_views(record, curves))
    except Exception as error:
        reason = first_line(error)
        warn(f"{record.experiment}: its saved views in MLflow could not be written ({reason})")
