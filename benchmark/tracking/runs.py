"""Reads the runs of a study from MLflow as tables, from which leaderboards are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError, suggest
from benchmark.measures import BY_KEY
from benchmark.redact import shown
from benchmark.tracking import plan_tag
from benchmark.tracking.cache import Rows, cached
from benchmark.tracking.cell_run import is_of_study
from benchmark.tracking.client import Client
from benchmark.tracking.ownership import holders, is_shown, plan_tag_name, shown_workspace
from benchmark.tracking.store import Store
from benchmark.tracking.tags import (
    IDENTITY,
    KIND,
    PLAN,
    PROVENANCE,
    RUN,
    STUDY,
    TEACHER,
)

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.study.plan import Plan

_COLUMNS = ("run_id", "kind", "status", *PROVENANCE, *IDENTITY)
"""Columns that every table of runs has; metrics follow."""

_WORKSPACES = "workspaces"
"""Entry of a row: the workspaces that have the journal of the run."""

_SYNC = "`kdbench sync STUDY` writes it again"
"""The remedy if somebody has changed a tag."""

_ORDER = ("kind", "pair", "method", "seed", "cell", "run_id")
"""Columns that a table of runs is sorted by."""


def runs(experiment: str, store: Store) -> pd.DataFrame:
    """Return the runs of cells and teachers of an experiment, one per row, in a fixed order.

    If several workspaces have written to the experiment, only the runs of one of them are returned:
    of this workspace, or else of the one that the experiment belongs to.

    Args:
        experiment: Name of the experiment.
        store: The store that contains it.

    Returns:
        A table for `leaderboard.table`, with the columns `run_id`, `kind` (`run` or
        `teacher`), `status`, `reason`, `environment` (in words), `fingerprint` (the parts of the
        environment that results depend on), `stopped` (epochs trained and planned, such as `7/12`,
        if the time limit ended the training), those of `IDENTITY`, and a column for each measure of
        `benchmark.measures`, and each test metric of a plug-in, that any run has logged (NaN for
        runs that have not).

    Raises:
        InputError: The store has no such experiment.
        TrackingError: The store cannot be reached.
    """
    import pandas as pd

    client, entity = _experiment(experiment, store)

    def read() -> Rows:
        return [
            _row(run, kind)
            for kind in (RUN, TEACHER)
            for run in client.search(entity.experiment_id, f"tags.`{KIND}` = '{kind}'")
            if is_of_study(run, entity.tags.get(STUDY))
        ]

    rows = cached(client, entity, store, read)
    workspace = shown_workspace(entity, store)
    rows = [_with_seed(row, store) for row in rows if is_shown(row[_WORKSPACES], workspace)]
    rows = sorted(rows, key=lambda row: [row[name] for name in _ORDER])

    names = {name for row in rows for name in row}
    metrics = sorted(names.difference(_COLUMNS, {_WORKSPACES}))
    return pd.DataFrame(rows, columns=[*_COLUMNS, *metrics]).astype({"seed": "int64"})


def _row(run: Any, kind: str) -> dict[str, Any]:
    """Return the columns of a run."""
    tags = run.data.tags
    row = {"run_id": run.info.run_id, "kind": kind, "status": run.info.status}
    row |= {name: tags.get(name, "") for name in (*PROVENANCE, *IDENTITY)}
    row["seed"] = tags.get("seed", "")
    row[_WORKSPACES] = holders(run)
    row |= {key: value for key, value in run.data.metrics.items() if _is_result(key)}

    return row


def _with_seed(row: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return a row with its seed as a number.

    Raises:
        InputError: Somebody has deleted or changed the tag.
    """
    seed = str(row["seed"])
    if not seed.isdecimal():
        problem = f"run {row['run_id']}: its tag seed is {seed!r}, which is no seed"
        raise InputError(f"{shown(store.uri)}: {problem}; {_SYNC}")
    return {**row, "seed": int(seed)}


def _is_result(key: str) -> bool:
    """Return whether a metric is a result: a measure of kdbench, or a metric of a plug-in."""
    return key in BY_KEY or key.startswith("test/")


def histories(
    experiment: str,
    store: Store,
    metric: str,
    rows: Mapping[str, Collection[str]],
    limit: int = 200,
) -> pd.DataFrame:
    """Return every value of a metric that the finished runs of an experiment have logged.

    Args:
        experiment: Name of the experiment.
        store: The store that contains it.
        metric: Name of the metric.
        rows: Methods whose histories are always read, by pair.
        limit: Maximum number of finished runs that are all read. If there are more, only those of
            `rows` are read, because each takes a request.

    Returns:
        A table with the columns `pair`, `method`, `seed`, `step` and `value`, sorted by them.

    Raises:
        InputError: The store has no such experiment.
        TrackingError: The store cannot be reached.
    """
    import pandas as pd

    table = runs(experiment, store)
    finished = table[(table["kind"] == RUN) & (table["status"] == "FINISHED")]
    columns = finished[["run_id", "pair", "method", "seed"]]

    client = Client(store)
    points = []
    for run_id, pair, method, seed in columns.itertuples(index=False, name=None):
        if len(finished) > limit and method not in rows.get(pair, ()):
            continue

        for point in client.get_metric_history(run_id, metric):
            points.append((pair, method, seed, point.step, point.value))

    return pd.DataFrame(sorted(points), columns=["pair", "method", "seed", "step", "value"])


def plan(experiment: str, store: Store) -> Plan:
    """Return the plan of the study in an experiment.

    Raises:
        InputError: The store has no such experiment, or the experiment belongs to no study, or its
            plan is damaged.
        TrackingError: The store cannot be reached.
    """
    _, entity = _experiment(experiment, store)
    if PLAN not in entity.tags:
        raise InputError(f"{shown(store.uri)}: experiment {experiment!r} contains no kdbench study")

    name = plan_tag_name(entity, shown_workspace(entity, store))
    try:
        return plan_tag.unpack(entity.tags.get(name, entity.tags[PLAN]))
    except ValueError:
        problem = f"the tag {name} of experiment {experiment!r} is damaged"
        raise InputError(f"{shown(store.uri)}: {problem}; {_SYNC}") from None


def _experiment(name: str, store: Store) -> tuple[Client, Any]:
    """Return a client and an experiment. Raise InputError if the store has none of that name."""
    names: list[str] = []

    if store.database is None or store.database.exists():
        client = Client(store)
        experiment = client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "active":
            return client, experiment

        names = list(experiments(store))

    hint = suggest(name, names) if names else "it contains no study yet"
    raise InputError(f"{shown(store.uri)}: no experiment {name!r}; {hint}")


def experiments(store: Store) -> dict[str, str]:
    """Return the ids of the experiments of studies and searches, by name.

    Raises:
        TrackingError: The store cannot be reached.
    """
    return {entity.name: entity.experiment_id for entity in studies(store)}


def studies(store: Store) -> list[Any]:
    """Return MLflow's experiments that contain a study or a search.

    Raises:
        TrackingError: The store cannot be reached.
    """
    entities = Client(store).search_experiments()
    return [entity for entity in entities if STUDY in entity.tags]


def fetch(address: str, store: Store, folder: Path) -> Path:
    """Copy a file of a run into a folder.

    Args:
        address: `runs:/RUN/PATH`.
        store: The store that contains the run.
        folder: Folder for the copy.

    Raises:
        InputError: The address names no file of a run.
        TrackingError: The store cannot be reached, or has no such run or file.
    """
    run, _, path = address.removeprefix("runs:/").partition("/")
    if not run or not path:
        raise InputError(f"{address}: not the address of a run's file; write runs:/RUN/PATH")

    return Path(Client(store).download_artifacts(run, path, str(folder)))
