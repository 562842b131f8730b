"""Copies a study's journals to MLflow, once or continuously while the study is being trained.

Training never waits for tracking: it writes journals, and `sync` reads them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError, TrackingError
from benchmark.records.journal import Record, read_journal
from benchmark.records.layout import StudyFolder
from benchmark.study.plan import Plan, read_plan
from benchmark.tracking import plan_tag
from benchmark.tracking.cell_run import CellRun, Key, planned_runs, run_key
from benchmark.tracking.client import Client
from benchmark.tracking.experiments import open_experiment
from benchmark.tracking.models import Models
from benchmark.tracking.projection import Outcome, Synced, superseded_last
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, PLAN, RUN, STUDY, SUPERSEDED, TEACHER

LONGEST_WAIT = 60.0
"""Maximum seconds between two attempts to reach a store that does not answer."""


def sync(folder: Path, store: Store) -> Synced:
    """Copy a study's plan and journals to MLflow; write only what is missing there.

    Cells that have not started get no run. Earlier runs of cells that were trained again, and
    all runs of cells that are no longer planned, are kept as `superseded`.

    Args:
        folder: Folder of the study.
        store: Where the runs are written.

    Returns:
        The number of runs that were created, updated and left unchanged.

    Raises:
        TrackingError: The store cannot be reached or fails. What was written so far is kept, and
            the next sync writes the rest.
        InputError: A journal is damaged, or the experiment belongs to another study.
    """
    study = StudyFolder(folder)
    if not study.plan.exists():
        return Synced(None)

    with FileLock(study.sync_lock):
        plan = read_plan(study.plan)
        planned = planned_runs(study, plan)
        journals = {run.key: read_journal(run.files.journal) for run in planned}
        running = locks.running(folder)

        tags = {STUDY: plan.study, PLAN: plan_tag.pack(plan)}
        client, experiment = open_experiment(store, plan.experiment, tags)
        identity = experiment.experiment_id

        recorded = _recorded_runs(client, identity, plan.study)
        models = Models(client, identity)

        outcomes: list[Outcome] = []
        with client.revising(experiment):
            for run in planned:
                if records := journals[run.key]:
                    projection = CellRun(client, identity, study, run, records, running, models)
                    outcomes.append(projection.write(recorded.get(run.key, [])))
            outcomes += _supersede_unplanned(client, plan, journals, recorded)
            _delete_models(models, plan, journals, recorded)

    return Synced.count(identity, outcomes)


def _recorded_runs(client: Client, experiment_id: str, study: str) -> dict[Key, list[Any]]:
    """Return MLflow's runs of a study's cells and teachers by key, superseded runs last."""
    runs: dict[Key, list[Any]] = {}

    for run in superseded_last(client.search(experiment_id, f"tags.study = '{study}'")):
        tags = run.data.tags
        if tags.get(KIND) in (RUN, TEACHER, SUPERSEDED) and "cell" in tags:
            runs.setdefault(run_key(tags), []).append(run)

    return runs


def _supersede_unplanned(
    client: Client,
    plan: Plan,
    journals: dict[Key, list[Record]],
    recorded: dict[Key, list[Any]],
) -> list[Outcome]:
    """Supersede the runs of cells that are no longer in the plan."""
    if not _is_complete(plan):
        return []

    runs = [run for key in recorded.keys() - journals.keys() for run in recorded[key]]
    return ["updated" for run in runs if client.supersede(run)]


def _delete_models(
    models: Models,
    plan: Plan,
    journals: dict[Key, list[Record]],
    recorded: dict[Key, list[Any]],
) -> None:
    """Delete the models of superseded and deleted runs."""
    if not _is_complete(plan):
        return

    # Until a cell that was set aside is trained again, its run is shown.
    waiting = [key for key, records in journals.items() if not records]
    models.delete_others({run.info.run_id for key in waiting for run in recorded.get(key, [])})


def _is_complete(plan: Plan) -> bool:
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

    Returns:
        Whether the last sync succeeded.
    """
    synced: Any = None
    warned = False
    wait = every
    due = 0.0

    while True:
        stopping = stop()
        state = _state(folder)

        if stopping or (state != synced and time.monotonic() >= due):
            error = _try_sync(folder, store)
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
        time.sleep(every)


def _try_sync(folder: Path, store: Store) -> Exception | None:
    try:
        sync(folder, store)
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
