"""Opens the experiment of a study for writing; creates it, and a local store, if needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.errors import InputError, TrackingError, remedy
from benchmark.redact import shown
from benchmark.tracking.client import Client, import_mlflow
from benchmark.tracking.store import Store, database_address
from benchmark.tracking.tags import STUDY


def open_experiment(
    store: Store, name: str, tags: Mapping[str, str], workspace: str = ""
) -> tuple[Client, Any]:
    """Return a client and an experiment, which is created if it does not exist.

    Args:
        store: The store; a local one is created if it does not exist.
        name: Name of the experiment.
        tags: Tags to write to the experiment, including `STUDY`, the study that it belongs to.
        workspace: Identity of the workspace that writes.

    Raises:
        InputError: The experiment belongs to another study.
        TrackingError: The store cannot be reached or written.
    """
    with _creating(store):
        client = Client(store, workspace)

        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            identity = client.create_experiment(name, artifact_location=store.artifacts)
            experiment = client.get_experiment(identity)
        elif experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)

        study = tags[STUDY]
        owner = experiment.tags.get(STUDY, study)
        if owner != study:
            raise InputError(
                f"experiment {name!r} at {shown(store.uri)} belongs to the study {owner!r}; "
                f"choose another one for {study!r} (key tracking.experiment)"
            )

        client.tag_experiment(experiment, tags)

    return client, experiment


@contextlib.contextmanager
def _creating(store: Store) -> Iterator[None]:
    """Let one process at a time create the tables and experiments of a local store."""
    if store.database is None:
        yield
        return

    try:
        store.database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{store.database}.lock"):
            if not store.database.exists():
                _create_tables(store, store.database)
            yield
    except OSError as error:
        raise TrackingError(
            f"{store.database}: cannot be written ({error.strerror}){remedy(error)}"
        ) from None


def _create_tables(store: Store, database: Path) -> None:
    """Create a database with all tables at once.

    If MLflow is killed while creating them, it cannot resume in the same file.
    """
    import_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)

    SqlAlchemyStore(database_address(part), store.artifacts).engine.dispose()
    part.replace(database)
