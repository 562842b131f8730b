"""Where MLflow keeps runs, and the client that reads and writes there. No other file imports MLflow.

It takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from benchmark.errors import InputError, TrackingError
from benchmark.redact import shown
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, REVISION, STUDY, SUPERSEDED

TRIES = 3

_PAGE = 5000
"""Runs that are asked for at once."""

_READS = ("get_", "search_", "list_", "download_")
"""Beginnings of the names of MLflow's calls that change nothing."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# MLflow's own values keep asking a dead server for four minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}


class Point(NamedTuple):
    """A metric's value.  time: in milliseconds."""

    key: str
    value: float
    time: int
    step: int


def mlflow_name(name: str) -> str:
    """The name of a setting or a metric as MLflow takes it: `ls(dkd).temperature` becomes `ls.dkd.temperature`."""
    return re.sub(r"[^\w.\- :/]", "_", name.replace("(", ".").replace(")", ""))


def mlflow() -> Any:
    """MLflow, quiet and impatient."""
    os.environ.update(ENVIRONMENT)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17's own table definitions do this on SQLAlchemy 2.1.
    warnings.filterwarnings(
        "ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning
    )
    import mlflow

    # It reports the making of tables, and every error with a traceback; errors reach the user as TrackingError.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    return mlflow


class Client:
    """MLflow's client. Its calls try again while the store is busy, and fail with TrackingError only."""

    def __init__(self, store: Store):
        self._uri = store.uri
        self._unannounced: str | None = None
        self._client = self._patiently(mlflow().MlflowClient, store.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._unannounced is not None and not name.startswith(_READS):
            experiment_id, self._unannounced = self._unannounced, None
            self.set_experiment_tag(experiment_id, REVISION, "")
        return functools.partial(self._patiently, getattr(self._client, name))

    @contextlib.contextmanager
    def revising(self, experiment: Any) -> Iterator[None]:
        """Around all that is written to an experiment's runs: if anything is, its `REVISION` is another one then.

        It is empty from before the first write to after the last one, and stays so if that is never reached.
        """
        self._unannounced = experiment.experiment_id
        yield
        written, self._unannounced = self._unannounced is None, None
        if written or not experiment.tags.get(REVISION):
            self.set_experiment_tag(experiment.experiment_id, REVISION, uuid.uuid4().hex)

    def deleted(self, experiment_id: str) -> list[str]:
        """The runs of an experiment that somebody has deleted."""
        from mlflow.entities import ViewType

        found = self._pages([experiment_id], run_view_type=ViewType.DELETED_ONLY)
        return sorted(run.info.run_id for run in found)

    def search(self, experiment_id: str, condition: str) -> list[Any]:
        """All pages of MLflow's runs that meet a condition and are not deleted."""
        return self._pages([experiment_id], condition)

    def _pages(self, *args: Any, **kwargs: Any) -> list[Any]:
        found: list[Any] = []
        token = None
        while token != "":
            page = self.search_runs(*args, max_results=_PAGE, page_token=token, **kwargs)
            found += page
            token = page.token or ""
        return found

    def log(
        self,
        run: Any,
        metrics: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Writes to a run, in one go; returns whether there is anything to write."""
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(*point) for point in metrics]
        settings = [Param(*item) for item in (params or {}).items()]
        labels = [RunTag(*item) for item in (tags or {}).items()]
        if points or settings or labels:
            self.log_batch(run.info.run_id, metrics=points, params=settings, tags=labels)
        return bool(points or settings or labels)

    def label(self, run: Any, params: Mapping[str, str], tags: Mapping[str, str]) -> bool:
        """Gives a run the params and tags that it lacks; returns whether it lacked any."""
        return self.log(
            run,
            params={key: value for key, value in params.items() if key not in run.data.params},
            tags={key: value for key, value in tags.items() if run.data.tags.get(key, "") != value},
        )

    def set_status(self, run: Any, status: str, end: int) -> bool:
        """Gives a run a status, and its end in milliseconds unless it is RUNNING; returns whether it had another."""
        if status == run.info.status and (status == "RUNNING" or end == run.info.end_time):
            return False
        if status == "RUNNING":
            self.update_run(run.info.run_id, status)
        else:
            self.set_terminated(run.info.run_id, status, end)
        return True

    def tag_experiment(self, experiment: Any, tags: Mapping[str, str]) -> None:
        """Gives an experiment the tags that it lacks."""
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                self.set_experiment_tag(experiment.experiment_id, key, value)

    def _patiently(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        tries = 0
        while True:
            try:
                return call(*args, **kwargs)
            except (MlflowException, SQLAlchemyError, OSError) as error:
                tries += 1
                if "database schema" in str(error):
                    raise InputError(
                        f"{shown(self._uri)}: made by another version of MLflow than is installed here; install "
                        f"that one, or, if it is older, keep a copy and run `mlflow db upgrade {shown(self._uri)}`"
                    ) from None
                if tries == TRIES or getattr(error, "error_code", "") != "TEMPORARILY_UNAVAILABLE":
                    raise TrackingError(f"{shown(self._uri)}: {_reason(error)}") from None
            time.sleep(tries)


def _reason(error: Exception) -> str:
    """What MLflow complains of, as one line without passwords; of a dead server it tells the innermost error."""
    text = " ".join(shown(str(error)).split())
    if text.startswith("API request") and ("Max retries exceeded" in text or "timed out" in text):
        reason = text.rpartition(": ")[2].rstrip("\"')")[:400]
        return f"the server cannot be reached: {reason}; start it, or name another one with --tracking-uri"
    return f"MLflow failed: {text[:400]}"


def prepare(store: Store, name: str, tags: Mapping[str, str]) -> tuple[Client, Any]:
    """A client and a study's experiment, with its tags up to date; the database and the experiment if there are none.

    tags: with the study's name, `STUDY`. Raises InputError if the experiment is another study's.
    """
    with _creation(store):
        client = Client(store)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            experiment = client.get_experiment(
                client.create_experiment(name, artifact_location=store.artifacts)
            )
        elif experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        owner = experiment.tags.get(STUDY, tags[STUDY])
        if owner != tags[STUDY]:
            raise InputError(
                f"experiment {name!r} at {shown(store.uri)} holds the study {owner!r}; "
                f"give {tags[STUDY]!r} another one (key tracking.experiment)"
            )
        client.tag_experiment(experiment, tags)
    return client, experiment


@contextlib.contextmanager
def _creation(store: Store) -> Iterator[None]:
    """Lets one process at a time make a local store's tables and experiments."""
    if store.database is None:
        yield
        return
    try:
        store.database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{store.database}.lock"):
            if not store.database.exists():
                _make_tables(store, store.database)
            yield
    except OSError as error:
        raise TrackingError(f"{store.database}: cannot be written ({error.strerror})") from None


def _make_tables(store: Store, database: Path) -> None:
    """A local store appears with all of its tables at once: MLflow cannot go on where it was killed making them."""
    mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{part}", store.artifacts).engine.dispose()
    part.replace(database)


def retire(client: Client, run: Any) -> bool:
    """Tags a run as superseded, unless it is. Returns whether it was not."""
    if run.data.tags[KIND] == SUPERSEDED:
        return False
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_tag(run.info.run_id, KIND, SUPERSEDED)
    return True
