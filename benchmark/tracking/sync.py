"""From the journals of a study to MLflow.

The journals are the truth and MLflow is a picture of them: `sync` may run at any time and any number of times, may be
killed at any moment, and an MLflow store that is lost is filled again. So a training never waits for its tracking.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError, TrackingError
from benchmark.records.journal import (
    EarlyEpoch,
    Epoch,
    Failed,
    Final,
    Record,
    Start,
    metrics_of,
    read_journal,
)
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.study.plan import Plan, read_plan, to_dict
from benchmark.tracking.client import Client, Point, mlflow_name, prepare, retire
from benchmark.tracking.store import Store
from benchmark.tracking.tags import (
    BEST_MINUS_LAST,
    KIND,
    LONGEST_TAG,
    PLAN,
    RUN,
    STUDY,
    SUPERSEDED,
    TEACHER,
)

SYNCED = "kdbench.synced"

LONGEST_WAIT = 60.0
"""Seconds between two attempts to reach a store that does not answer."""

Records = list[Record]


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
    places = StudyFolder(folder)
    if not places.plan.exists():
        return Synced(None, 0, 0, 0)
    with FileLock(places.sync_lock):
        plan = read_plan(places.plan)
        entries = list(_entries(folder, plan))
        journals = {entry.key: read_journal(CellFiles(entry.folder).journal) for entry in entries}
        running = locks.running(folder)
        client, experiment = prepare(store, plan.experiment, {STUDY: plan.study, PLAN: _pack(plan)})
        recorded = _recorded(client, experiment.experiment_id, plan.study)
        outcomes, retired = [], 0
        with client.revising(experiment):
            for entry in entries:
                if records := journals[entry.key]:
                    projection = _Projection(
                        client, experiment.experiment_id, folder, entry, records, running
                    )
                    outcomes.append(projection.write(recorded.get(entry.key, [])))
            # While teachers are trained the plan does not know its cells yet.
            if all(teacher.teacher_id for teacher in plan.teachers):
                gone = recorded.keys() - journals.keys()
                retired = sum(retire(client, run) for key in gone for run in recorded[key])
    created, updated, unchanged = (
        outcomes.count(what) for what in ("created", "updated", "unchanged")
    )
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


def _entries(folder: Path, plan: Plan) -> Iterator[_Entry]:
    common = {"kdbench.schema": "1", "study": plan.study, "dataset": plan.dataset}
    for cell in plan.cells:
        tags = {
            **common,
            KIND: RUN,
            "pair": cell.pair,
            "method": cell.row,
            "teacher": cell.teacher,
            "teacher_id": cell.teacher_id,
            "student": cell.student,
            "seed": str(cell.seed),
            "cell": cell.id,
        }
        settings = cell.settings if "+" in cell.method else {cell.method: cell.settings}
        params = dict(_flat({**settings, "recipe": cell.recipe, "length": cell.length}))
        name = f"{cell.row} {cell.pair} s{cell.seed}"
        yield _Entry(_key(tags), name, folder / cell.folder, tags, params)
    for teacher in plan.teachers:
        tags = {
            **common,
            KIND: TEACHER,
            "method": TEACHER,
            "pair": ", ".join(teacher.pairs),
            "teacher": teacher.model,
            "teacher_id": teacher.teacher_id,
            "student": "",
            "seed": str(teacher.seed),
            "cell": teacher.id,
        }
        params = dict(_flat({"recipe": teacher.recipe}))
        name = f"{TEACHER} {tags['pair']} s{tags['seed']}"
        yield _Entry(_key(tags), name, folder / teacher.folder, tags, params)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield mlflow_name(prefix + name), value if isinstance(value, str) else json.dumps(value)


def _pack(plan: Plan) -> str:
    """What a leaderboard needs of a plan, as a tag: JSON, compressed where it is long."""
    text = json.dumps(to_dict(plan.for_tables()), sort_keys=True)
    if len(text) <= LONGEST_TAG:
        return text
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _recorded(client: Client, experiment_id: str, study: str) -> dict[Key, list[Any]]:
    """MLflow's runs of a study's cells and teachers, those superseded last."""
    found: dict[Key, list[Any]] = {}
    runs = client.search(experiment_id, f"tags.study = '{study}'")
    for run in sorted(
        runs, key=lambda run: (run.data.tags.get(KIND) == SUPERSEDED, run.info.run_id)
    ):
        if run.data.tags.get(KIND) in (RUN, TEACHER, SUPERSEDED) and "cell" in run.data.tags:
            found.setdefault(_key(run.data.tags), []).append(run)
    return found


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
        changes = [
            self._write_records(run),
            self._write_labels(run),
            self.client.set_status(run, *self._status()),
        ]
        if own is None:
            return "created"
        return "updated" if any(changes + retired) else "unchanged"

    def _shows(self, run: Any) -> bool:
        return run.info.start_time == self.records[0].time and _synced(run) <= len(self.records)

    def _create(self) -> Any:
        start = self.records[0].time
        tags = {name: value for name, value in self.entry.tags.items() if value}
        return self.client.create_run(
            self.experiment_id, start_time=start, tags=tags, run_name=self.entry.name
        )

    def _write_records(self, run: Any) -> bool:
        """Files and metrics. The tag that counts the records follows later: after a crash between, the same is written.

        MLflow keeps one of two points with equal key, step, time and value.
        """
        new = self.records[_synced(run) :]
        if len(new) == len(self.records):
            files = (
                self.entry.folder / "config.json",
                self.study / "split.json",
                self.study / "study.yaml",
            )
            for path in filter(Path.exists, files):
                self.client.log_artifact(run.info.run_id, str(path))
        if any(isinstance(record, Start) for record in new):
            text = json.dumps(self._environments()[-1], indent=2, sort_keys=True)
            self.client.log_text(run.info.run_id, text, "environment.json")
        self.client.log(run, self._metrics(new))
        return bool(new)

    def _metrics(self, records: Records) -> Iterator[Point]:
        epochs = sum(isinstance(record, Epoch) for record in self.records)
        for record in records:
            step = record.epoch + 1 if isinstance(record, EarlyEpoch | Epoch) else epochs
            for key, value in metrics_of(record).items():
                if math.isfinite(value):
                    yield Point(mlflow_name(key), value, record.time, step)
            if isinstance(record, Final) and (gap := _best_minus_last(self.records)) is not None:
                yield Point(BEST_MINUS_LAST, gap, record.time, step)

    def _write_labels(self, run: Any) -> bool:
        return self.client.label(run, self.entry.params, self._tags())

    def _tags(self) -> dict[str, str]:
        first, last = self._environments()[0], self._environments()[-1]
        drift = sorted(key for key in first | last if first.get(key) != last.get(key))
        failure = self.records[-1]
        reason = failure.reason if isinstance(failure, Failed) else ""
        changing = {
            "git_commit": last.get("git_commit", ""),
            "kdbench.drift": ", ".join(drift),
            "reason": reason,
        }
        changing["environment"] = _in_short(last)
        changing["fingerprint"] = "; then ".join(
            dict.fromkeys(filter(None, map(_fingerprint, self._environments())))
        )
        short = {name: value[:LONGEST_TAG] for name, value in changing.items()}
        return {**self.entry.tags, **short, SYNCED: str(len(self.records))}

    def _environments(self) -> list[dict[str, str]]:
        return [record.environment for record in self.records if isinstance(record, Start)]

    def _status(self) -> tuple[str, int]:
        """MLflow's status, and the time of the record that decided it in milliseconds."""
        for record in self.records:
            if isinstance(record, Final):
                return "FINISHED", record.time
        last = self.records[-1]
        if isinstance(last, Failed):
            return "FAILED", last.time
        return "RUNNING" if self.running else "KILLED", last.time


def _best_minus_last(records: Records) -> float | None:
    """Validation accuracy of the best epoch minus that of the last; None if the last was not validated."""
    by_epoch = {record.epoch: record.metrics for record in records if isinstance(record, Epoch)}
    values = {
        epoch: metrics["val/acc1"] for epoch, metrics in by_epoch.items() if "val/acc1" in metrics
    }
    known = {epoch: float(value) for epoch, value in values.items() if math.isfinite(value)}
    last = max(by_epoch, default=None)
    return max(known.values()) - known[last] if last in known else None


def _in_short(environment: Mapping[str, str]) -> str:
    """The part of an environment that a reader of a table asks for first."""
    names = {
        "kdbench": "kdbench", "rules": "Rules", "git_commit": "commit", "python": "Python", "torch": "torch",
        "timm": "timm", "device_name": "on", "threads": "threads",
    }  # fmt: skip
    return ", ".join(
        f"{label} {environment[name]}" for name, label in names.items() if environment.get(name)
    )


def _fingerprint(environment: Mapping[str, str]) -> str:
    """The part of an environment that numbers depend on: runs where it differs are not compared unasked.

    Data and teacher are not in it: they are part of a cell's identity. The commit and the number of threads are told
    beside a table, and keep no run out of it.
    """
    names = (
        "device",
        "cuda",
        "cudnn",
        "rules",
        "kdbench",
        "python",
        "torch",
        "torchvision",
        "timm",
        "numpy",
    )
    return ", ".join(f"{name} {environment[name]}" for name in names if environment.get(name))


def _synced(run: Any) -> int:
    return int(run.data.tags.get(SYNCED, 0))


def follow(
    folder: Path,
    store: Store,
    stop: Callable[[], bool],
    *,
    warn: Callable[[str], None],
    every: float = 1.0,
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
                    warn(
                        f"{error}; training goes on, and `kdbench sync {folder.name}` will record these runs later"
                    )
                warned = True
            due = time.monotonic() + wait
            if last:
                return done
        time.sleep(every)


def _sizes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of the plan and of every journal."""
    sizes = {}
    for path in (StudyFolder(folder).plan, *StudyFolder(folder).journals()):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            sizes[path] = (stat.st_size, stat.st_mtime_ns)
    return sizes
