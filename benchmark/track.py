"""From the journals of a study to MLflow and back. No other file imports MLflow.

The journals are the truth and MLflow is a picture of them: `sync` may run at any time and any number of times, may be
killed at any moment, and an MLflow store that is lost is filled again. So a training never waits for its tracking.
MLflow, torch and pandas take seconds to import: they are imported where they are used.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import functools
import json
import logging
import math
import os
import re
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError, TrackingError

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.plan import Plan

KIND, SYNCED = "kdbench.kind", "kdbench.synced"
STUDY, PLAN = "kdbench.study", "kdbench.plan"
RUN, TEACHER, SUPERSEDED = "run", "teacher", "superseded"

BEST_MINUS_LAST = "val/best_minus_last"
"""Metric of a finished run, in percentage points on the validation images: a diagnostic, never a result."""

IDENTITY = ("pair", "method", "teacher", "teacher_id", "student", "dataset", "seed", "cell")
"""Tags that say what a run is; columns of `runs`."""

LONGEST_TAG = 5000
"""Characters. MLflow 3.17 takes 8,000 for a run and 20,000 for an experiment, older servers 5,000."""

TRIES = 3
LONGEST_WAIT = 60.0
"""Seconds between two attempts to reach a store that does not answer."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# MLflow's own values keep asking a dead server for four minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}

_CREDENTIALS = re.compile(r"(?:^(?!\S*://)|(?<=://)(?<!sqlite://))\S*@")
_QUERY_VALUE = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s]*")

Records = list[dict[str, Any]]


class Point(NamedTuple):
    """A metric's value.  time: in milliseconds."""

    key: str
    value: float
    time: int
    step: int


def mlflow_name(name: str) -> str:
    """The name of a setting or a metric as MLflow takes it: `ls(dkd).temperature` becomes `ls.dkd.temperature`."""
    return re.sub(r"[^\w.\- :/]", "_", name.replace("(", ".").replace(")", ""))


def shown(text: str) -> str:
    """An address, or a message with addresses in it, with names and passwords before an @ and query values masked."""
    return _QUERY_VALUE.sub(r"\1=***", _CREDENTIALS.sub("***@", text))


@dataclass(frozen=True)
class Store:
    """Where MLflow keeps runs.

    uri: `sqlite:////absolute/path` or the address of a server. artifacts: `file:///` address of the folder for the
    files of runs; None where the server decides.
    """

    uri: str
    artifacts: str | None

    def __repr__(self) -> str:
        return f"Store({shown(self.uri)!r}, {self.artifacts!r})"

    @property
    def database(self) -> Path | None:
        """The file of a local store."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:") else None


def store(workspace: Path, uri: str | None) -> Store:
    """The store of a workspace, or the one at `uri`: a path as `sqlite:///path`, or http(s).

    Raises InputError for any other address.
    """
    address = uri or f"sqlite:///{workspace.absolute()}/mlflow.db"
    if address.startswith(("http://", "https://")):
        return Store(address.rstrip("/"), None)
    file = address.removeprefix("sqlite:///")
    if file in ("", address):
        raise InputError(
            f"{shown(address)}: not an MLflow store that can be used; give http(s)://host:port of an MLflow server, or "
            "sqlite:///path/to/mlflow.db (MLflow has given up stores in plain folders)"
        )
    database = Path(file).absolute()
    return Store(f"sqlite:///{database}", (database.parent / "artifacts").as_uri())


def _mlflow() -> Any:
    os.environ.update(ENVIRONMENT)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17's own table definitions do this on SQLAlchemy 2.1.
    warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
    import mlflow

    # It reports the making of tables, and every error with a traceback; errors reach the user as TrackingError.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    return mlflow


class Client:
    """MLflow's client. Its calls try again while the store is busy, and fail with TrackingError only."""

    def __init__(self, store: Store):
        self._uri = store.uri
        self._client = self._patiently(_mlflow().MlflowClient, store.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._patiently, getattr(self._client, name))

    def search(self, experiment_id: str, condition: str) -> list[Any]:
        """All pages of MLflow's runs that meet a condition and are not deleted."""
        found: list[Any] = []
        token = None
        while token != "":
            page = self.search_runs([experiment_id], condition, max_results=1000, page_token=token)
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
                if tries == TRIES or getattr(error, "error_code", "") != "TEMPORARILY_UNAVAILABLE":
                    raise TrackingError(f"{shown(self._uri)}: {_reason(error)}") from None
            time.sleep(tries)


def _reason(error: Exception) -> str:
    """What MLflow complains of, as one line without passwords; of a dead server it tells the innermost error."""
    text = " ".join(shown(str(error)).split())
    if text.startswith("API request") and ("Max retries exceeded" in text or "timed out" in text):
        return "the server cannot be reached: " + text.rpartition(": ")[2].rstrip("\"')")[:400]
    return f"MLflow failed: {text[:400]}"


@dataclass(frozen=True)
class Synced:
    """What `sync` did: the experiment (None before there is a plan), and how many runs it touched in which way."""

    experiment_id: str | None
    created: int
    updated: int
    unchanged: int


def sync(folder: Path, store: Store) -> Synced:
    """Makes MLflow show what a study's plan and journals hold, and writes only what is missing there.

    folder: the study's. Cells that have not begun get no run. Runs of cells that were trained again or have left the
    plan stay, as `superseded`.

    Raises:
        TrackingError: the store cannot be reached or refuses; what was written so far stays, the rest comes next time.
        InputError: a journal is damaged, or the experiment belongs to another study.
    """
    from benchmark.journal import read_journal

    if not (folder / "plan.json").exists():
        return Synced(None, 0, 0, 0)
    with FileLock(folder / "sync.lock"):
        plan = json.loads((folder / "plan.json").read_text())
        entries = list(_entries(folder, plan))
        journals = {entry.key: read_journal(entry.folder / "journal.jsonl") for entry in entries}
        running = locks.running(folder)
        client, experiment = prepare(store, plan["experiment"], {STUDY: plan["study"], PLAN: _pack(plan)})
        recorded = _recorded(client, experiment.experiment_id, plan["study"])
        outcomes = []
        for entry in entries:
            if records := journals[entry.key]:
                projection = _Projection(client, experiment.experiment_id, folder, entry, records, running)
                outcomes.append(projection.write(recorded.get(entry.key, [])))
        retired = 0
        # While teachers are trained the plan does not know its cells yet.
        if all(teacher.get("teacher_id") for teacher in plan["teachers"]):
            gone = recorded.keys() - journals.keys()
            retired = sum(retire(client, run) for key in gone for run in recorded[key])
    created, updated, unchanged = (outcomes.count(what) for what in ("created", "updated", "unchanged"))
    return Synced(experiment.experiment_id, created, updated + retired, unchanged)


Key = tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    """A cell or a teacher of the plan, as a run of MLflow: what is known of it before it has begun."""

    key: Key
    name: str
    folder: Path
    tags: Mapping[str, str]
    params: Mapping[str, str]


def _key(tags: Mapping[str, str]) -> Key:
    """What a run is found by: two rows of a study may have the same settings, and so the same cell on disk."""
    if tags["method"] == TEACHER:
        return (TEACHER, tags["cell"])
    return (tags["cell"], tags["pair"], tags["method"])


def _entries(folder: Path, plan: Mapping[str, Any]) -> Iterator[_Entry]:
    common = {"kdbench.schema": "1", "study": plan["study"], "dataset": plan["dataset"]}
    for cell in plan["cells"]:
        named = {name: str(cell[name]) for name in ("pair", "teacher", "teacher_id", "student", "seed")}
        tags = {**common, **named, KIND: RUN, "method": cell["row"], "cell": cell["id"]}
        settings = cell["settings"] if "+" in cell["method"] else {cell["method"]: cell["settings"]}
        params = dict(_flat({**settings, "recipe": cell["recipe"], "length": cell.get("length", {})}))
        name = f"{cell['row']} {cell['pair']} s{cell['seed']}"
        yield _Entry(_key(tags), name, folder / cell["folder"], tags, params)
    for teacher in plan["teachers"]:
        tags = {
            **common, KIND: TEACHER, "method": TEACHER, "pair": ", ".join(teacher["pairs"]),
            "teacher": teacher["model"], "teacher_id": teacher.get("teacher_id") or "", "student": "",
            "seed": str(teacher["seed"]), "cell": teacher["id"],
        }  # fmt: skip
        params = dict(_flat({"recipe": teacher["recipe"]}))
        name = f"{TEACHER} {tags['pair']} s{tags['seed']}"
        yield _Entry(_key(tags), name, folder / teacher["folder"], tags, params)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield mlflow_name(prefix + name), value if isinstance(value, str) else json.dumps(value)


def prepare(store: Store, name: str, tags: Mapping[str, str]) -> tuple[Client, Any]:
    """A client and a study's experiment, with its tags up to date; the database and the experiment if there are none.

    tags: with the study's name, `STUDY`. Raises InputError if the experiment is another study's.
    """
    with _creation(store):
        client = Client(store)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            experiment = client.get_experiment(client.create_experiment(name, artifact_location=store.artifacts))
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
    _mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{part}", store.artifacts).engine.dispose()
    part.replace(database)


def _pack(plan: Mapping[str, Any]) -> str:
    """What a leaderboard needs of a plan, as a tag: JSON, compressed where it is long."""
    names = ("study", "question", "pairs", "methods", "seeds", "select", "protocol", "baseline", "not_applicable")
    content = {name: plan[name] for name in names if name in plan}
    content |= {name: plan[name] for name in ("trials", "search_tmac", "altered") if plan.get(name)}
    content |= {"datasets": dict.fromkeys(plan["pairs"], plan["dataset"])}
    text = json.dumps(content, sort_keys=True)
    return text if len(text) <= LONGEST_TAG else base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _unpack(tag: str) -> dict[str, Any]:
    text = tag if tag.startswith("{") else zlib.decompress(base64.b64decode(tag))
    content: dict[str, Any] = json.loads(text)
    return content


def _recorded(client: Client, experiment_id: str, study: str) -> dict[Key, list[Any]]:
    """MLflow's runs of a study's cells and teachers, those superseded last."""
    found: dict[Key, list[Any]] = {}
    runs = client.search(experiment_id, f"tags.study = '{study}'")
    for run in sorted(runs, key=lambda run: (run.data.tags.get(KIND) == SUPERSEDED, run.info.run_id)):
        if run.data.tags.get(KIND) in (RUN, TEACHER, SUPERSEDED) and "cell" in run.data.tags:
            found.setdefault(_key(run.data.tags), []).append(run)
    return found


def retire(client: Client, run: Any) -> bool:
    """Tags a run as superseded, unless it is. Returns whether it was not."""
    if run.data.tags[KIND] == SUPERSEDED:
        return False
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_tag(run.info.run_id, KIND, SUPERSEDED)
    return True


@dataclass(frozen=True)
class _Projection:
    """One journal, on its way to its run."""

    client: Client
    experiment_id: str
    study: Path
    entry: _Entry
    records: Records
    running: bool

    def write(self, candidates: Sequence[Any]) -> str:
        """Writes what the run lacks, or a new run. Returns `created`, `updated` or `unchanged`.

        candidates: runs with the entry's key. One that began at another moment, or knows more than the journal, shows
        an earlier training of the cell.
        """
        own = next(filter(self._shows, candidates), None)
        retired = [retire(self.client, run) for run in candidates if run is not own]
        run = self._create() if own is None else own
        changes = [self._write_records(run), self._write_labels(run), self.client.set_status(run, *self._status())]
        if own is None:
            return "created"
        return "updated" if any(changes + retired) else "unchanged"

    def _shows(self, run: Any) -> bool:
        return run.info.start_time == self.records[0]["time"] and _synced(run) <= len(self.records)

    def _create(self) -> Any:
        start = self.records[0]["time"]
        tags = {name: value for name, value in self.entry.tags.items() if value}
        return self.client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=self.entry.name)

    def _write_records(self, run: Any) -> bool:
        """Files and metrics. The tag that counts the records follows later: after a crash between, the same is written.

        MLflow keeps one of two points with equal key, step, time and value.
        """
        new = self.records[_synced(run) :]
        if len(new) == len(self.records):
            files = (self.entry.folder / "config.json", self.study / "split.json", self.study / "study.yaml")
            for path in filter(Path.exists, files):
                self.client.log_artifact(run.info.run_id, str(path))
        if any(record["kind"] == "start" for record in new):
            text = json.dumps(self._environments()[-1], indent=2, sort_keys=True)
            self.client.log_text(run.info.run_id, text, "environment.json")
        self.client.log(run, self._metrics(new))
        return bool(new)

    def _metrics(self, records: Records) -> Iterator[Point]:
        epochs = sum(record["kind"] == "epoch" for record in self.records)
        for record in records:
            step = record["epoch"] + 1 if record["kind"] in ("early", "epoch") else epochs
            for key, value in record.get("metrics", {}).items():
                if math.isfinite(value):
                    yield Point(mlflow_name(key), value, record["time"], step)
            if record["kind"] == "final" and (gap := _best_minus_last(self.records)) is not None:
                yield Point(BEST_MINUS_LAST, gap, record["time"], step)

    def _write_labels(self, run: Any) -> bool:
        return self.client.label(run, self.entry.params, self._tags())

    def _tags(self) -> dict[str, str]:
        first, last = self._environments()[0], self._environments()[-1]
        drift = sorted(key for key in first | last if first.get(key) != last.get(key))
        reason = self.records[-1]["reason"] if self.records[-1]["kind"] == "failed" else ""
        changing = {"git_commit": last.get("git_commit", ""), "kdbench.drift": ", ".join(drift), "reason": reason}
        changing["environment"] = _in_short(last)
        changing["fingerprint"] = "; then ".join(dict.fromkeys(filter(None, map(_fingerprint, self._environments()))))
        short = {name: value[:LONGEST_TAG] for name, value in changing.items()}
        return {**self.entry.tags, **short, SYNCED: str(len(self.records))}

    def _environments(self) -> list[dict[str, str]]:
        return [record["environment"] for record in self.records if record["kind"] == "start"]

    def _status(self) -> tuple[str, int]:
        """MLflow's status, and the time of the record that decided it in milliseconds."""
        for record in self.records:
            if record["kind"] == "final":
                return "FINISHED", record["time"]
        last = self.records[-1]
        if last["kind"] == "failed":
            return "FAILED", last["time"]
        return "RUNNING" if self.running else "KILLED", last["time"]


def _best_minus_last(records: Records) -> float | None:
    """Validation accuracy of the best epoch minus that of the last; None if the last was not validated."""
    by_epoch = {record["epoch"]: record.get("metrics", {}) for record in records if record["kind"] == "epoch"}
    values = {epoch: metrics["val/acc1"] for epoch, metrics in by_epoch.items() if "val/acc1" in metrics}
    known = {epoch: float(value) for epoch, value in values.items() if math.isfinite(value)}
    last = max(by_epoch, default=None)
    return max(known.values()) - known[last] if last in known else None


def _in_short(environment: Mapping[str, str]) -> str:
    """The part of an environment that a reader of a table asks for first."""
    names = {
        "kdbench": "kdbench", "rules": "Rules", "git_commit": "commit", "python": "Python", "torch": "torch",
        "timm": "timm", "device_name": "on", "threads": "threads",
    }  # fmt: skip
    return ", ".join(f"{label} {environment[name]}" for name, label in names.items() if environment.get(name))


def _fingerprint(environment: Mapping[str, str]) -> str:
    """The part of an environment that numbers depend on: runs where it differs are not compared unasked.

    Data and teacher are not in it: they are part of a cell's identity. The commit and the number of threads are told
    beside a table, and keep no run out of it.
    """
    names = ("device", "cuda", "cudnn", "rules", "kdbench", "python", "torch", "torchvision", "timm", "numpy")
    return ", ".join(f"{name} {environment[name]}" for name in names if environment.get(name))


def _synced(run: Any) -> int:
    return int(run.data.tags.get(SYNCED, 0))


def follow(
    folder: Path, store: Store, stop: Callable[[], bool], *, warn: Callable[[str], None], every: float = 1.0
) -> bool:
    """Keeps MLflow up to date while a study is trained, until `stop` says so; then syncs once more.

    every: seconds between two looks at the journals; MLflow is called only if they have grown. A store that fails is
    told to `warn` once, and asked less and less often. Let go of `running.lock` before `stop` turns true: then the last
    sync shows an interrupted cell as KILLED. Returns whether the last sync succeeded.
    """
    seen: Any = None
    warned, wait, due = False, every, 0.0
    while True:
        last, now = stop(), _sizes(folder)
        if last or (now != seen and time.monotonic() >= due):
            try:
                sync(folder, store)
                seen, wait, done = now, every, True
            except (TrackingError, InputError) as error:
                done, wait = False, min(2 * wait, LONGEST_WAIT)
                if not warned:
                    warn(f"{error}; training goes on, and `kdbench sync {folder.name}` will record these runs later")
                warned = True
            due = time.monotonic() + wait
            if last:
                return done
        time.sleep(every)


def _sizes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of the plan and of every journal."""
    sizes = {}
    for path in (folder / "plan.json", *folder.glob("*/*/journal.jsonl")):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            sizes[path] = (stat.st_size, stat.st_mtime_ns)
    return sizes


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
    lines = [
        _line(run, kind)
        for kind in (RUN, TEACHER)
        for run in client.search(found.experiment_id, f"tags.`{KIND}` = '{kind}'")
    ]
    order = ("kind", "pair", "method", "seed", "cell", "run_id")
    lines.sort(key=lambda line: [line[name] for name in order])
    head = ["run_id", "kind", "status", "reason", "environment", "fingerprint", *IDENTITY]
    metrics = sorted({name for line in lines for name in line} - set(head))
    return pd.DataFrame(lines, columns=head + metrics).astype({"seed": "int64"})


def histories(experiment: str, store: Store, metric: str, most: int = 200) -> pd.DataFrame:
    """Every value that the finished runs of an experiment have logged of a metric: pair, method, seed, step, value.

    One call of MLflow per run: empty where there are more than `most`.

    Raises:
        InputError: the store has no such experiment.
        TrackingError: the store cannot be reached.
    """
    import pandas as pd

    client, found = _existing(experiment, store)
    known = client.search(found.experiment_id, f"tags.`{KIND}` = '{RUN}' and attributes.status = 'FINISHED'")
    lines = [
        (run.data.tags["pair"], run.data.tags["method"], int(run.data.tags["seed"]), point.step, point.value)
        for run in (known if len(known) <= most else [])
        for point in client.get_metric_history(run.info.run_id, metric)
    ]
    return pd.DataFrame(sorted(lines), columns=["pair", "method", "seed", "step", "value"])


def _line(run: Any, kind: str) -> dict[str, Any]:
    tags = run.data.tags
    line = {"run_id": run.info.run_id, "kind": kind, "status": run.info.status}
    line |= {name: tags.get(name, "") for name in ("reason", "environment", "fingerprint")}
    line |= {name: tags.get(name, "") for name in IDENTITY} | {"seed": int(tags["seed"])}
    return line | {k: v for k, v in run.data.metrics.items() if k.startswith(("test/", "cost/", BEST_MINUS_LAST))}


def plan(experiment: str, store: Store) -> Plan:
    """The plan of the study that an experiment holds.

    Raises:
        InputError: the store has no such experiment, or no study of kdbench is in it.
        TrackingError: the store cannot be reached.
    """
    from benchmark.plan import Plan

    _, found = _existing(experiment, store)
    if PLAN not in found.tags:
        raise InputError(f"{shown(store.uri)}: experiment {experiment!r} holds no study of kdbench")
    content = _unpack(found.tags[PLAN])
    return Plan(**content | {name: tuple(content[name]) for name in ("pairs", "methods", "seeds")})


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
