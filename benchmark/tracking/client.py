"""The client that reads and writes MLflow runs.

MLflow takes seconds to import, so it is imported inside functions, not at the top of modules.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import tenacity

from benchmark.errors import InputError, TrackingError
from benchmark.redact import shown
from benchmark.tracking.store import RESTORE, Store
from benchmark.tracking.tags import KIND, REVISION, SUPERSEDED, WORKSPACE

ATTEMPTS = 3
"""Number of attempts on a busy store before a call fails."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Environment variables that silence MLflow."""

# By default, MLflow retries an unreachable server for four minutes.
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}

_PAGE_SIZE = 5000
"""Maximum number of runs per request."""

_READING = ("get_", "search_", "list_", "download_")
"""Prefixes of MLflow's read-only calls."""

_LONGEST_REASON = 400
"""Maximum number of characters of MLflow's own message in an error."""


_SQL = re.compile(r"\[SQL: |\(Background on this error at: ")
"""Beginnings of what SQLAlchemy adds to the message of a database."""

_DATABASE_REMEDIES = {
    "database disk image is malformed": RESTORE,
    "file is not a database": RESTORE,
    "attempt to write a readonly database": "check who may write it and its folder",
    "unable to open database file": "check who may read and write it and its folder",
    "database or disk is full": "free some disk space and run the same command again",
    "disk I/O error": "check the disk, and free some space",
}
"""Messages of SQLite, and what to do about them."""


class MissingEndpointError(TrackingError):
    """The server is too old for a request."""


class Point(NamedTuple):
    """A value of a metric.

    Attributes:
        key: Name of the metric.
        value: Its value.
        time: When it was recorded, in milliseconds since 1970.
        step: Number of epochs trained by then.
    """

    key: str
    value: float
    time: int
    step: int


def mlflow_name(name: str) -> str:
    """Return the name of a setting or metric in a form that MLflow accepts.

    `ls(dkd).temperature` becomes `ls.dkd.temperature`.
    """
    dotted = name.replace("(", ".").replace(")", "")
    return re.sub(r"[^\w.\- :/]", "_", dotted)


def import_mlflow() -> Any:
    """Return the package `mlflow`, silenced and with short timeouts."""
    os.environ.update(ENVIRONMENT)
    for name, value in _TIMEOUTS.items():
        os.environ.setdefault(name, value)

    # The table definitions of MLflow 3.17 trigger this warning with SQLAlchemy 2.1.
    warnings.filterwarnings(
        "ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning
    )
    import mlflow

    # MLflow logs the creation of tables, and tracebacks of errors that are raised anyway.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    return mlflow


class Client:
    """MLflow's own client, with retries while the store is busy.

    All calls of `mlflow.MlflowClient` are available. They raise `TrackingError` if the store
    cannot be reached or fails, and `InputError` if another version of MLflow created the store.

    Attributes:
        workspace: Identity of the workspace that writes; empty if it has none.
    """

    def __init__(self, store: Store, workspace: str = ""):
        self.workspace = workspace
        self._uri = store.uri
        self._revised: str | None = None
        self._client = self._call(import_mlflow().MlflowClient, store.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of MLflow's client, with retries."""
        if self._revised is not None and not name.startswith(_READING):
            experiment_id = self._revised
            self._revised = None
            self.set_experiment_tag(experiment_id, REVISION, "")

        return functools.partial(self._call, getattr(self._client, name))

    @contextlib.contextmanager
    def revising(self, experiment: Any) -> Iterator[None]:
        """Change an experiment's `REVISION` if anything is written to its runs within the context.

        The tag is empty from before the first write until after the last, and stays empty if the
        process is killed in between.
        """
        self._revised = experiment.experiment_id
        yield

        written = self._revised is None
        self._revised = None

        if written or not experiment.tags.get(REVISION):
            self.set_experiment_tag(experiment.experiment_id, REVISION, uuid.uuid4().hex)

    def search(self, experiment_id: str, condition: str) -> list[Any]:
        """Return all runs of an experiment that meet a condition, without deleted runs."""
        return self._all_pages([experiment_id], condition)

    def deleted(self, experiment_id: str) -> list[str]:
        """Return the sorted ids of the deleted runs of an experiment."""
        from mlflow.entities import ViewType

        runs = self._all_pages([experiment_id], run_view_type=ViewType.DELETED_ONLY)
        return sorted(run.info.run_id for run in runs)

    def _all_pages(self, *args: Any, **kwargs: Any) -> list[Any]:
        runs: list[Any] = []
        token = None

        while token != "":
            page = self.search_runs(*args, max_results=_PAGE_SIZE, page_token=token, **kwargs)
            runs += page
            token = page.token or ""

        return runs

    def log(
        self,
        run: Any,
        metrics: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Write to a run in one request; return whether there was anything to write."""
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(*point) for point in metrics]
        settings = [Param(*item) for item in (params or {}).items()]
        labels = [RunTag(*item) for item in (tags or {}).items()]

        if not (points or settings or labels):
            return False

        self.log_batch(run.info.run_id, metrics=points, params=settings, tags=labels)
        return True

    def label(self, run: Any, params: Mapping[str, str], tags: Mapping[str, str]) -> bool:
        """Write the params and tags that a run lacks; return whether it lacked any.

        An empty tag is written only to replace one that is not empty.
        """
        old_tags = run.data.tags
        return self.log(
            run,
            params={key: value for key, value in params.items() if key not in run.data.params},
            tags={key: value for key, value in tags.items() if old_tags.get(key, "") != value},
        )

    def set_status(self, run: Any, status: str, end: int) -> bool:
        """Set the status and end of a run; return whether they changed.

        Args:
            run: MLflow's run.
            status: MLflow's status. A RUNNING run has no end.
            end: End of the run, in milliseconds since 1970.
        """
        running = status == "RUNNING"
        if status == run.info.status and (running or end == run.info.end_time):
            return False

        if running:
            self.update_run(run.info.run_id, status)
        else:
            self.set_terminated(run.info.run_id, status, end)

        return True

    def start_run(self, experiment_id: str, tags: Mapping[str, str], **options: Any) -> Any:
        """Create a run of this workspace."""
        owner = {WORKSPACE: self.workspace} if self.workspace else {}
        return self.create_run(experiment_id, tags={**tags, **owner}, **options)

    def claim(self, run: Any) -> bool:
        """Tag a run as one of this workspace; return False if it already was."""
        names = run.data.tags.get(WORKSPACE, "").split()
        if not self.workspace or self.workspace in names:
            return False

        self.set_tag(run.info.run_id, WORKSPACE, " ".join([*names, self.workspace]))
        return True

    def adopt(self, runs: Iterable[Any]) -> None:
        """Make all runs of a store that lies in this workspace runs of this workspace alone.

        If the workspace was copied from elsewhere, they still name the workspace that it was.
        """
        for run in runs:
            if run.data.tags.get(WORKSPACE, self.workspace) != self.workspace:
                self.set_tag(run.info.run_id, WORKSPACE, self.workspace)
                run.data.tags[WORKSPACE] = self.workspace

    def supersede(self, run: Any) -> bool:
        """Tag a run as superseded; return False if it already was.

        A run that other workspaces have as well only stops being one of this workspace.
        """
        if run.data.tags[KIND] == SUPERSEDED:
            return False

        names = run.data.tags.get(WORKSPACE, "").split()
        others = [name for name in names if name != self.workspace]
        if others:
            if len(others) < len(names):
                self.set_tag(run.info.run_id, WORKSPACE, " ".join(others))
            return len(others) < len(names)

        if run.info.status == "RUNNING":
            self.set_terminated(run.info.run_id, "KILLED")

        self.set_tag(run.info.run_id, KIND, SUPERSEDED)
        run.data.tags[KIND] = SUPERSEDED
        return True

    def tag_experiment(self, experiment: Any, tags: Mapping[str, str]) -> None:
        """Write the tags that an experiment lacks."""
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                self.set_experiment_tag(experiment.experiment_id, key, value)

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call MLflow, with retries while the store is busy."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return _RETRYING(function, *args, **kwargs)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> InputError | TrackingError:
        """Return an error that states the cause and the remedy."""
        address = shown(self._uri)
        if "database schema" in str(error):  # the store was checked when it was opened
            return InputError(
                f"{address}: created by another version of MLflow than the one installed; "
                "install that version or, if it is older, make a backup and run "
                f"`mlflow db upgrade {address}`"
            )

        kind = MissingEndpointError if _is_missing(error) else TrackingError
        return kind(f"{address}: {_reason(error, self._uri)}")


def _is_busy(error: BaseException) -> bool:
    """Return whether the same call may succeed shortly."""
    return getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE"


def _is_missing(error: Exception) -> bool:
    """Return whether a server does not know the address of a request, or not its method."""
    code = getattr(error, "error_code", "")
    return code == "ENDPOINT_NOT_FOUND" or "failed with error code 405 " in str(error)


_RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_busy),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_incrementing(start=1, increment=1),
    reraise=True,
)


def _reason(error: Exception, address: str) -> str:
    """Return the cause of an error as one line without passwords and SQL."""
    text = " ".join(shown(_SQL.split(str(error))[0], address).split())
    cause = next((words for words in _DATABASE_REMEDIES if words in text), None)
    if cause is not None:
        return f"the database cannot be used ({cause}); {_DATABASE_REMEDIES[cause]}"

    unreachable = "Max retries exceeded" in text or "timed out" in text
    if not (text.startswith("API request") and unreachable):
        return f"MLflow failed: {text[:_LONGEST_REASON]}"

    innermost = text.rpartition(": ")[2].rstrip("\"')")
    return (
        f"the server cannot be reached: {innermost[:_LONGEST_REASON]}; "
        "start it, or choose another one with --tracking-uri"
    )
