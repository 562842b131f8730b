"""Runs of large studies, kept in a file: MLflow takes more than a millisecond to hand out one run.

MLflow cannot tell which runs have changed since they were read. So two things are asked of it: the experiment's
`REVISION`, which is another one after each sync that wrote something, and which runs somebody has deleted. Whatever
else is changed by hand in a run is not seen: delete the file then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.tracking.client import Client
from benchmark.tracking.store import Store
from benchmark.tracking.tags import REVISION

LEAST = 500
"""Runs from which on they are kept."""

_FORMAT = 1
"""Of what is kept of a run: a file of another one is not read."""

Lines = list[dict[str, Any]]


def lines(client: Client, experiment: Any, store: Store, read: Callable[[], Lines]) -> Lines:
    """What `read` returns, a dictionary per run: from the file if nothing has changed since, else by reading."""
    if store.memory is None:
        return read()
    identity = hashlib.sha256(f"{store.uri} {experiment.experiment_id}".encode()).hexdigest()[:16]
    file = store.memory / f"{identity}.json"
    kept, before = _kept(file), _state(client, experiment)
    if kept is not None and kept["state"] == before:
        found: Lines = kept["lines"]
        return found
    found = read()
    if len(found) < LEAST or not before["revision"]:
        return found
    if _state(client, client.get_experiment(experiment.experiment_id)) == before:
        _keep(file, {"state": before, "lines": found})
    return found


def _state(client: Client, experiment: Any) -> dict[str, Any]:
    """What changes when the runs of an experiment do; without a revision while a sync writes them."""
    deleted = client.deleted(experiment.experiment_id)
    return {"format": _FORMAT, "revision": experiment.tags.get(REVISION, ""), "deleted": deleted}


def _kept(file: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.keys() == {"state", "lines"} else None


def _keep(file: Path, content: Mapping[str, Any]) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a table is shown on a full disk as well
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content))
        part.replace(file)
