"""What MLflow has recorded of a study, as tables: all that a leaderboard is made of."""

from __future__ import annotations

import base64
import difflib
import json
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError
from benchmark.redact import shown
from benchmark.tracking import cache
from benchmark.tracking.client import Client
from benchmark.tracking.store import Store
from benchmark.tracking.tags import BEST_MINUS_LAST, IDENTITY, KIND, PLAN, RUN, STUDY, TEACHER

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.study.plan import Plan


def runs(experiment: str, store: Store) -> pd.DataFrame:
    """The runs and teachers of an experiment, as `leaderboard.leaderboard` takes them, in a fixed order.

    Columns: run_id, kind, status, reason, environment (in words), fingerprint (what of it numbers depend on), those of
    `IDENTITY`, and every metric `test/...` and `cost/...`, and `BEST_MINUS_LAST`, that a run has logged (NaN where one
    has not).

    Raises:
        InputError: the store has no such experiment.
        TrackingError: the store cannot be reached.
    """
    import pandas as pd

    client, found = _existing(experiment, store)

    def read() -> list[dict[str, Any]]:
        return [
            _line(run, kind)
            for kind in (RUN, TEACHER)
            for run in client.search(found.experiment_id, f"tags.`{KIND}` = '{kind}'")
        ]

    order = ("kind", "pair", "method", "seed", "cell", "run_id")
    lines = sorted(
        cache.lines(client, found, store, read), key=lambda line: [line[name] for name in order]
    )
    head = ["run_id", "kind", "status", "reason", "environment", "fingerprint", *IDENTITY]
    metrics = sorted({name for line in lines for name in line} - set(head))
    return pd.DataFrame(lines, columns=head + metrics).astype({"seed": "int64"})


def _line(run: Any, kind: str) -> dict[str, Any]:
    tags = run.data.tags
    line = {"run_id": run.info.run_id, "kind": kind, "status": run.info.status}
    line |= {name: tags.get(name, "") for name in ("reason", "environment", "fingerprint")}
    line |= {name: tags.get(name, "") for name in IDENTITY} | {"seed": int(tags["seed"])}
    return line | {
        k: v
        for k, v in run.data.metrics.items()
        if k.startswith(("test/", "cost/", BEST_MINUS_LAST))
    }


def histories(
    experiment: str,
    store: Store,
    metric: str,
    first: Mapping[str, Collection[str]],
    most: int = 200,
) -> pd.DataFrame:
    """Every value that the finished runs of an experiment have logged of a metric: pair, method, seed, step, value.

    One call of MLflow per run: of more than `most` only those of the rows that `first` names for each pair.

    Raises:
        InputError: the store has no such experiment.
        TrackingError: the store cannot be reached.
    """
    import pandas as pd

    table, client = runs(experiment, store), Client(store)
    known = table[(table["kind"] == RUN) & (table["status"] == "FINISHED")]
    names = ["run_id", "pair", "method", "seed"]
    lines = [
        (pair, method, seed, point.step, point.value)
        for run_id, pair, method, seed in known[names].itertuples(index=False, name=None)
        if len(known) <= most or method in first.get(pair, ())
        for point in client.get_metric_history(run_id, metric)
    ]
    return pd.DataFrame(sorted(lines), columns=["pair", "method", "seed", "step", "value"])


def plan(experiment: str, store: Store) -> Plan:
    """The plan of the study that an experiment holds.

    Raises:
        InputError: the store has no such experiment, or no study of kdbench is in it.
        TrackingError: the store cannot be reached.
    """
    from benchmark.study.plan import from_dict

    _, found = _existing(experiment, store)
    if PLAN not in found.tags:
        raise InputError(f"{shown(store.uri)}: experiment {experiment!r} holds no study of kdbench")
    return from_dict(_unpack(found.tags[PLAN]))


def _unpack(tag: str) -> dict[str, Any]:
    text = tag if tag.startswith("{") else zlib.decompress(base64.b64decode(tag))
    content: dict[str, Any] = json.loads(text)
    return content


def _existing(experiment: str, store: Store) -> tuple[Client, Any]:
    known: list[str] = []
    if store.database is None or store.database.exists():
        client = Client(store)
        found = client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage == "active":
            return client, found
        known = list(experiments(store))
    near = difflib.get_close_matches(experiment, known)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"there are {', '.join(known)}" if known else "it holds no study yet"
    raise InputError(f"{shown(store.uri)}: no experiment {experiment!r}; {hint}")


def experiments(store: Store) -> dict[str, str]:
    """The experiments that hold a study of kdbench: name -> MLflow's identity. Raises TrackingError."""
    return {one.name: one.experiment_id for one in studies(store)}


def studies(store: Store) -> list[Any]:
    """MLflow's experiments that hold a study of kdbench, or a search of one. Raises TrackingError."""
    return [one for one in Client(store).search_experiments() if STUDY in one.tags]


def fetch(address: str, store: Store, folder: Path) -> Path:
    """The file of a run's artifact, `runs:/RUN/PATH`, copied into a folder.

    Raises:
        InputError: the address names no file of a run.
        TrackingError: the store cannot be reached, or has no such run or artifact.
    """
    run, _, path = address.removeprefix("runs:/").partition("/")
    if not run or not path:
        raise InputError(f"{address}: not the address of a run's file, runs:/RUN/PATH")
    return Path(Client(store).download_artifacts(run, path, str(folder)))
