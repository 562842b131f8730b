"""Copies a study's journals to MLflow, once or continuously while the study is being trained.

Training never waits for tracking: it writes journals, and `sync` reads them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError, TrackingError
from benchmark.printable import print_message
from benchmark.records.integrity import read_sound_journal
from benchmark.records.journal import Record
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.records.workspace_id import identify
from benchmark.study.plan import Plan, read_plan
from benchmark.tracking import plan_tag
from benchmark.tracking.cell_run import (
    CellRun,
    Key,
    PlannedRun,
    is_of_study,
    planned_runs,
    run_key,
)
from benchmark.tracking.client import Client
from benchmark.tracking.experiments import open_experiment
from benchmark.tracking.handmade import write_handmade
from benchmark.tracking.models import Models
from benchmark.tracking.ownership import Ownership, clash, ownership, plan_tag_name
from benchmark.tracking.profile_run import write_profile
from benchmark.tracking.projection import Outcome, Synced, superseded_last
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, PLAN, RUN, STUDY, SUPERSEDED, TEACHER, WORKSPACE

Warn = Callable[[str], None]

LONGEST_WAIT = 60.0
"""Maximum seconds between two attempts to reach a store that does not answer."""


def sync(folder: Path, store: Store, *, warn: Warn = print_message) -> Synced:
    """Copy a study's plan and journals to MLflow; write only what is missing there.

    Cells that have not started get no run. Earlier runs of cells that were trained again, and
    all runs of cells that are no longer planned or were set aside, are kept as `superseded`. Runs
    of other workspaces are left alone, and so are those of cells whose journals are damaged.
    Traces of steps get a run of their own once no process trains the study.

    Args:
        folder: Folder of the study.
        store: Where the runs are written.
        warn: Receives a message if the experiment has runs of other workspaces, and one for each
            damaged journal.

    Returns:
        The number of runs that were created, updated and left unchanged.

    Raises:
        TrackingError: The store cannot be reached or fails. What was written so far is kept, and
            the next sync writes the rest.
        InputError: The plan is damaged, or the experiment belongs to another study.
    """
    study = StudyFolder(folder)
    if not study.plan.exists():
        return Synced(None)

    with FileLock(study.sync_lock):
        plan = read_plan(study.plan)
        planned = planned_runs(study, plan)
        journals = _read_journals(planned, warn)
        running = locks.running(folder)

        workspace = identify(Workspace(folder.parent))
        owned = ownership(workspace, study)
        client, experiment = open_experiment(store, plan.experiment, {STUDY: plan.study}, workspace)
        identity = experiment.experiment_id

        found = client.search(identity, f"tags.study = '{plan.study}'")
        if store.is_inside(folder.parent):
            client.adopt(found)
        runs = runs_of_cells(found)
        recorded = runs_by_key(run for run in runs if owned.owns(run))
        for key in {run.key for run in planned} - journals.keys():
            recorded.pop(key, None)
        others = owned.others(runs)
        if others:
            warn(clash(plan.experiment, store, others))
        _tag_experiment(client, experiment, plan, alone=not others)
        models = Models(client, identity)

        outcomes: list[Outcome] = []
        with client.revising(experiment):
            for run in planned:
                if records := journals.get(run.key):
                    projection = CellRun(client, identity, study, run, records, running, models)
                    outcomes.append(projection.write(recorded.get(run.key, [])))
            outcomes += _supersede_unplanned(client, plan, journals, recorded)
            outcomes += _supersede_forgotten(client, owned, journals, recorded)
            write_handmade(study, store, client)
            models.delete_old(runs)
            if not running:  # last, because a store may refuse files as large as traces
                outcomes += write_profile(client, identity, study, plan.study, found, owned)

    return Synced.count(identity, outcomes)


def _read_journals(planned: Iterable[PlannedRun], warn: Warn) -> dict[Key, list[Record]]:
    """Return the records of each planned run, without those of unreadable or damaged journals."""
    journals: dict[Key, list[Record]] = {}
    for run in planned:
        try:
            journals[run.key] = read_sound_journal(run.files)
        except InputError as error:
            warn(f"{run.name}: {error}; its run in MLflow stays as it is")

    return journals


def _tag_experiment(client: Client, experiment: Any, plan: Plan, *, alone: bool) -> None:
    """Write the plan of the study to its experiment.

    The experiment belongs to the workspace that was the last to find no runs of others there.
    """
    if alone or WORKSPACE not in experiment.tags:
        owner, name = {WORKSPACE: client.workspace}, PLAN
    else:
        owner, name = {}, plan_tag_name(experiment, client.workspace)

    client.tag_experiment(experiment, {**owner, name: plan_tag.pack(plan)})


def runs_of_cells(found: Sequence[Any]) -> list[Any]:
    """Return the runs of a study's cells and teachers, superseded runs last."""
    runs = superseded_last(found)
    kinds = (RUN, TEACHER, SUPERSEDED)
    return [run for run in runs if run.data.tags.get(KIND) in kinds and is_of_study(run)]


def runs_by_key(runs: Iterable[Any]) -> dict[Key, list[Any]]:
    """Return runs by key."""
    groups: dict[Key, list[Any]] = {}
    for run in runs:
        groups.setdefault(run_key(run.data.tags), []).append(run)

    return groups


def _supersede_unplanned(
    client: Client,
    plan: Plan,
    journals: dict[Key, list[Record]],
    recorded: dict[Key, list[Any]],
) -> list[Outcome]:
    """Supersede the runs of cells that are no longer in the plan."""
    if not is_complete(plan):
        return []

    runs = [run for key in recorded.keys() - journals.keys() for run in recorded[key]]
    return ["updated" for run in runs if client.supersede(run)]


def _supersede_forgotten(
    client: Client,
    owned: Ownership,
    journals: dict[Key, list[Record]],
    recorded: dict[Key, list[Any]],
) -> list[Outcome]:
    """Supersede the runs of planned cells that were set aside and have not started again."""
    forgotten = [key for key, records in journals.items() if not records]
    runs = [run for key in forgotten for run in recorded.get(key, []) if owned.certain(run)]
    return ["updated" for run in runs if client.supersede(run)]


def is_complete(plan: Plan) -> bool:
    """Return whether a plan lists all cells; before, some of their teachers are being trained."""
    return all(teacher.teacher_id for teacher in plan.teachers)


def follow(
    folder: Path,
    store: Store,
    stop: Callable[[], bool],
    *,
    warn: Callable[[str], None],
    every: float = 1.0,
    observe: Callable[[], None] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Keep MLflow up to date while a study is being trained, and sync once more at the end.

    Until then, MLflow is called only if the plan or a journal has changed. A failing store is
    retried less and less often.

    Args:
        folder: Folder of the study.
        store: Where the runs are written.
        stop: Returns whether training is over. The study's lock must be released before this
            returns True, so that the last sync shows an interrupted cell as KILLED.
        warn: Receives a message when the store first fails.
        every: Seconds between two checks of the journals.
        observe: Called after each check, until training is over.
        pause: Waits for a number of seconds, or less if training is over.

    Returns:
        Whether the last sync succeeded.
    """
    warnings: set[str] = set()

    def warn_once(line: str) -> None:
        if line not in warnings:
            warnings.add(line)
            warn(line)

    synced: Any = None
    warned = False
    wait = every
    due = 0.0

    while True:
        stopping = stop()
        state = _state(folder)

        if stopping or (state != synced and time.monotonic() >= due):
            error = _try_sync(folder, store, warn_once)
            if error is None:
                synced, wait = state, every
            else:
                wait = min(2 * wait, LONGEST_WAIT)
                if not warned:
                    later = f"`kdbench sync {folder.name}` will record these runs later"
                    warn(f"{error}; training continues, and {later}")
                warned = True

            due = time.monotonic() + wait
            if stopping:
                return error is None

        observe()
        pause(every)


def _try_sync(folder: Path, store: Store, warn: Warn) -> Exception | None:
    try:
        sync(folder, store, warn=warn)
    except (TrackingError, InputError) as error:
        return error
    return None


def _state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the size and modification time of the plan and of every journal."""
    study = StudyFolder(folder)
    state = {}

    for path in (study.plan, *study.journals()):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            state[path] = (stat.st_size, stat.st_mtime_ns)

    return state
