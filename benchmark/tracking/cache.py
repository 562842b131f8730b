"""Caches the runs of a large experiment in a file.

Reading a run from MLflow takes more than a millisecond, and MLflow cannot tell which runs have
changed. The file is therefore valid while two things stay the same: the experiment's `REVISION`,
which changes with every sync that writes something, and the list of deleted runs. Other changes
made by hand go unnoticed until the next such sync, or until the file is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.files import write_atomically
from benchmark.tracking.client import Client
from benchmark.tracking.store import Store
from benchmark.tracking.tags import REVISION

MINIMUM_RUNS = 500
"""Experiments with fewer runs are always read from MLflow."""

_FORMAT = 2
"""Version of the file format; files with another version are ignored."""

Rows = list[dict[str, Any]]


def cached(client: Client, experiment: Any, store: Store, read: Callable[[], Rows]) -> Rows:
    """Return the runs of an experiment as rows, from the file if it is valid, else from MLflow.

    Args:
        client: MLflow client for the store.
        experiment: The experiment that the runs belong to.
        store: The store, whose `run_cache` is the folder of the file.
        read: Reads the rows from MLflow, one dictionary per run.
    """
    if store.run_cache is None:
        return read()

    path = _path(store.run_cache, store, experiment)
    state = _state(client, experiment)
    content = _load(path)
    if content is not None and content["state"] == state:
        cached_rows: Rows = content["lines"]
        return cached_rows

    rows = read()
    if len(rows) < MINIMUM_RUNS or not state["revision"]:
        return rows

    # Save the rows only if no sync has changed the runs in the meantime.
    if _state(client, client.get_experiment(experiment.experiment_id)) == state:
        _save(path, {"state": state, "lines": rows})
    return rows


def _path(folder: Path, store: Store, experiment: Any) -> Path:
    name = f"{store.uri} {experiment.experiment_id}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return folder / f"{digest[:16]}.json"


def _state(client: Client, experiment: Any) -> dict[str, Any]:
    """Return data that changes when the runs do; the revision is empty during a sync."""
    return {
        "format": _FORMAT,
        "revision": experiment.tags.get(REVISION, ""),
        "deleted": client.deleted(experiment.experiment_id),
    }


def _load(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None

    valid = isinstance(content, dict) and content.keys() == {"state", "lines"}
    return content if valid else None


def _save(path: Path, content: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, InputError):  # a full disk must not prevent a table
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content).encode())
