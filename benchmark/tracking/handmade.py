"""What users added to runs in MLflow by hand: descriptions and tags of their own.

An export collects it in a file of the study. The first sync after an import writes it to the runs
that lack it, and deletes the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.records.layout import StudyFolder
from benchmark.records.search import read_search
from benchmark.study.plan import read_plan
from benchmark.tracking.cell_run import run_key
from benchmark.tracking.client import Client
from benchmark.tracking.ownership import is_shown, reader_of
from benchmark.tracking.store import Store
from benchmark.tracking.tags import (
    BUDGET,
    IDENTITY,
    KIND,
    NOTE,
    PROVENANCE,
    ROW,
    RUN,
    SEARCH,
    TEACHER,
    TOP1,
    TRIAL,
    TRIAL_NUMBER,
    WORKSPACE,
)

_WRITTEN_WITH_CELLS = frozenset(
    (*IDENTITY, *PROVENANCE, ROW, BUDGET, TOP1, "study", "git_commit", "changes", "plugins")
)
_WRITTEN_WITH_TRIALS = frozenset(
    ("source", "state", "cells", "optuna.study", "optuna.trial", TRIAL_NUMBER)
)
_OWN_TAGS = _WRITTEN_WITH_CELLS | _WRITTEN_WITH_TRIALS
"""Tags that kdbench writes, besides those that begin with `kdbench.`."""

_KINDS = (RUN, TEACHER, TRIAL)


class HandmadeTags(BaseModel):
    """The tags that a user added to a run.

    Attributes:
        key: Key of the run.
        tags: The tags, including the description.
    """

    model_config = ConfigDict(frozen=True)

    key: tuple[str, ...]
    tags: dict[str, str]


_ADAPTER = TypeAdapter(list[HandmadeTags])


def collect(folder: StudyFolder, store: Store) -> bytes | None:
    """Return the content of a study's file of tags; None if nobody added any.

    Args:
        folder: Folder of the study.
        store: The store that contains its runs.

    Raises:
        TrackingError: The store cannot be reached.
        InputError: A record of the study is damaged.
    """
    found = {entry.key: entry.tags for entry in _read(folder.handmade)}
    if store.database is None or store.database.exists():
        found |= _collected(folder, store)

    if not found:
        return None

    entries = [HandmadeTags(key=key, tags=found[key]) for key in sorted(found)]
    plain = [entry.model_dump() for entry in entries]
    return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode()


def _collected(folder: StudyFolder, store: Store) -> dict[tuple[str, ...], dict[str, str]]:
    workspace = "" if store.workspace is None else reader_of(store.workspace)
    found = {}

    for run in _runs(folder, store):
        names = run.data.tags.get(WORKSPACE, "").split()
        tags = _handmade(run.data.tags)
        if tags and is_shown(names, workspace):
            found[_key(run.data.tags)] = tags
    return found


def write_handmade(folder: StudyFolder, store: Store, client: Client) -> None:
    """Write the tags of an import to the runs that lack them.

    Tags of runs that do not exist yet are kept for the next sync.

    Args:
        folder: Folder of the study.
        store: The store that contains its runs.
        client: Client of the store, which writes as this workspace.

    Raises:
        TrackingError: The store cannot be reached.
        InputError: The file is damaged.
    """
    entries = _read(folder.handmade)
    if not entries:
        return

    waiting = {entry.key: entry.tags for entry in entries}

    for run in _runs(folder, store):
        names = run.data.tags.get(WORKSPACE, "").split()
        if client.workspace not in names:
            continue

        wanted = waiting.pop(_key(run.data.tags), {})
        missing = {key: value for key, value in wanted.items() if key not in run.data.tags}
        client.log(run, tags=missing)

    # Trials of searches may be synced later than cells.
    left = [entry for entry in entries if entry.key in waiting]
    if left != entries:
        _replace(folder.handmade, left)


def _replace(path: Path, entries: list[HandmadeTags]) -> None:
    if entries:
        write_json(path, [entry.model_dump() for entry in entries])
    else:
        path.unlink(missing_ok=True)


def _runs(folder: StudyFolder, store: Store) -> list[Any]:
    """Return the current runs of a study and of its searches."""
    plan = read_plan(folder.plan)
    searches = [read_search(path).experiment for path in folder.search.records()]
    client = Client(store)
    runs = []

    for name in sorted({plan.experiment, *searches}):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            runs += client.search(experiment.experiment_id, f"tags.study = '{plan.study}'")

    return [run for run in runs if run.data.tags.get(KIND) in _KINDS]


def _key(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the key of a run, which is the same in every store."""
    if tags[KIND] == TRIAL:
        return (TRIAL, tags[SEARCH], tags[TRIAL_NUMBER])

    return run_key(tags)


def _handmade(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run that neither kdbench nor MLflow wrote."""
    return {
        key: value
        for key, value in tags.items()
        if key == NOTE or not (key in _OWN_TAGS or key.startswith(("kdbench.", "mlflow.")))
    }


def _read(path: Path) -> list[HandmadeTags]:
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError:
        raise InputError(f"{path}: damaged; delete it, or import the study again") from None
