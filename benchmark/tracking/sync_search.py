"""From the records of searches to MLflow: a run for each trial, a report and saved views for each search.

As with a study's own runs, the files are the truth and MLflow is a picture of them (see `track`): `sync_search` may run
at any time and any number of times, and may be killed at any moment.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError, first_line
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, read_journal
from benchmark.records.layout import CellFiles, SearchFolder
from benchmark.tracking import report_run, views
from benchmark.tracking.client import Client, Point, mlflow_name, prepare, retire
from benchmark.tracking.report_run import NOTE, REPORT, SEARCH
from benchmark.tracking.store import Store
from benchmark.tracking.sync import SYNCED, Records, Synced
from benchmark.tracking.tags import KIND, LONGEST_TAG, STUDY, SUPERSEDED
from benchmark.tracking.views import View, metric, param, tag

TRIAL = "trial"
"""Kind of runs."""

OBJECTIVE, COST = "objective", "cost/compute_tmac"
_RECORD = re.compile(r"([0-9a-f]{12})\.json")

_STATES = {
    "COMPLETE": ("FINISHED", "complete"),
    "FAIL": ("FAILED", "failed"),
    "PRUNED": ("KILLED", "pruned"),
    "RUNNING": ("RUNNING", "running"),
}
"""Optuna's state -> MLflow's status, and a word for the tag `state`."""

_INTERRUPTED = ("KILLED", "interrupted")

_MOST_CHARTS = 6
"""Of one sort in a view."""


@dataclass(frozen=True)
class _Search:
    """The record of a search.  text: as the file holds it; key: of the search, and its file's name."""

    folder: Path
    text: str
    key: str
    record: dict[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        """Of all its runs."""
        record = self.record
        named = {name: record[name] for name in ("study", "dataset", "pair", "teacher", "student")}
        return {"kdbench.schema": "1", SEARCH: self.key, **named, "method": record["row"]}

    @property
    def ascending(self) -> bool:
        """Whether the best objective is the lowest."""
        return not self.record["maximise"]

    def journals(self, trial: Mapping[str, Any]) -> list[Records]:
        """Those of a trial's seeds that have begun."""
        paths = (
            CellFiles(self.folder / cell).journal for _, cell in sorted(trial["cells"].items())
        )
        return [records for path in paths if (records := read_journal(path))]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def sync_search(
    folder: Path, store: Store, *, warn: Callable[[str], None] = _say
) -> dict[str, Synced]:
    """Makes MLflow show what the records and journals of searches hold, and writes only what is missing there.

    folder: the searches' of a study. Trials that have not begun get no run. A search that replaced another one on the
    same pair and row gets the experiment's description and views. A view that cannot be written is told to `warn`.

    Returns what was done by experiment, reports counted as runs.

    Raises:
        TrackingError: the store cannot be reached or refuses; what was written so far stays, the rest comes next time.
        InputError: a record or a journal is damaged, or an experiment belongs to another study.
    """
    if not folder.exists():
        return {}
    done: dict[str, Synced] = {}
    with FileLock(SearchFolder(folder).sync_lock):
        running = locks.running(folder)
        found = list(_searches(folder))
        newest = {search.record["experiment"]: search for search in found}
        for search in found:
            name = search.record["experiment"]
            now = _sync(search, store, running, search is newest[name], warn)
            before = done.get(name, Synced(now.experiment_id, 0, 0, 0))
            counts = (
                getattr(before, what) + getattr(now, what)
                for what in ("created", "updated", "unchanged")
            )
            done[name] = Synced(now.experiment_id, *counts)
    return done


def _searches(folder: Path) -> Iterator[_Search]:
    """All searches, those written last at the end."""
    paths = [
        (path, match[1])
        for path in folder.glob("*.json")
        if (match := _RECORD.fullmatch(path.name))
    ]
    for path, key in sorted(paths, key=lambda one: (one[0].stat().st_mtime_ns, one[1])):
        text = path.read_text()
        try:
            record = json.loads(text)
        except ValueError:
            raise InputError(
                f"{path}: not as it was written; delete it, and `kdbench tune` writes it again"
            ) from None
        yield _Search(folder, text, key, record)


def _sync(
    search: _Search, store: Store, running: bool, newest: bool, warn: Callable[[str], None]
) -> Synced:
    record = search.record
    client, experiment = prepare(store, record["experiment"], {STUDY: record["study"]})
    identity = experiment.experiment_id
    recorded = _recorded(client, identity, search)
    outcomes, curves, times = [], set(), []
    for trial in record["trials"]:
        journals = search.journals(trial)
        if not journals and trial["state"] == "RUNNING":
            continue
        projection = _Trial(client, identity, search, trial, journals, running)
        outcomes.append(projection.write(recorded.pop(str(trial["number"]), [])))
        curves |= {point.key for point in projection.curves()}
        times += [one.time for records in journals for one in records]
    reports = recorded.pop(REPORT, [])
    gone = sum(retire(client, run) for runs in recorded.values() for run in runs)
    if outcomes:
        outcomes.append(_report(client, identity, search, reports, times))
    if outcomes and newest:
        client.tag_experiment(
            experiment, {SEARCH: search.key, NOTE: _summary(search)[:LONGEST_TAG]}
        )
        _write_views(client, experiment, search, curves, warn)
    created, updated, unchanged = (
        outcomes.count(what) for what in ("created", "updated", "unchanged")
    )
    return Synced(identity, created, updated + gone, unchanged)


def _recorded(client: Client, experiment_id: str, search: _Search) -> dict[str, list[Any]]:
    """MLflow's runs of a search by the number of the trial, or `REPORT`; those superseded last."""
    found: dict[str, list[Any]] = {}
    runs = client.search(experiment_id, f"{tag(SEARCH)} = '{search.key}'")
    for run in sorted(
        runs, key=lambda run: (run.data.tags.get(KIND) == SUPERSEDED, run.info.run_id)
    ):
        found.setdefault(run.data.tags.get("trial", REPORT), []).append(run)
    return found


@dataclass(frozen=True)
class _Trial:
    """One trial, on its way to its run."""

    client: Client
    experiment_id: str
    search: _Search
    trial: Mapping[str, Any]
    journals: Sequence[Records]
    running: bool

    def write(self, candidates: Sequence[Any]) -> str:
        """Writes what the run lacks, or a new run. Returns `created`, `updated` or `unchanged`.

        candidates: runs of a trial with this number. One that says anything else than the record and the journals shows
        what has been thrown away since.
        """
        own = next(filter(self._shows, candidates), None)
        retired = [retire(self.client, run) for run in candidates if run is not own]
        run = self._create() if own is None else own
        status, word = self._state()
        changes = [
            self.client.log(run, self._new_points(run)),
            self.client.label(run, self._params(), self._tags(word)),
            self.client.set_status(run, status, self._end(run)),
        ]
        if own is None:
            return "created"
        return "updated" if any(changes + retired) else "unchanged"

    def curves(self) -> list[Point]:
        """Means over the seeds, of every epoch that all of them have and every metric that is a number in each."""
        return [point for epoch in self._epochs for point in epoch]

    @functools.cached_property
    def _epochs(self) -> list[list[Point]]:
        """The points of each epoch. A trial in progress waits for all of its seeds."""
        if not self.journals or (
            self.trial["state"] == "RUNNING"
            and len(self.journals) < len(self.search.record["seeds"])
        ):
            return []
        seeds = [
            {(one.kind, one.epoch): one for one in records if isinstance(one, EarlyEpoch | Epoch)}
            for records in self.journals
        ]
        return [
            list(_means([seed[place] for seed in seeds]))
            for place in seeds[0]
            if all(place in s for s in seeds)
        ]

    def _shows(self, run: Any) -> bool:
        """Whether nothing that a run says is wrong; it may lack something."""
        count, _, check = run.data.tags.get(SYNCED, "").partition(" ")
        epochs = self._epochs
        if count and (int(count) > len(epochs) or check != _checksum(epochs[: int(count)])):
            return False
        params, values = self._params(), self._values()
        return all(params.get(key) == value for key, value in run.data.params.items()) and all(
            values.get(key) == value
            for key, value in run.data.metrics.items()
            if key == OBJECTIVE or key.startswith(f"{OBJECTIVE}/")
        )

    def _create(self) -> Any:
        start = min(
            (records[0].time for records in self.journals), default=time.time_ns() // 1_000_000
        )
        published = self.trial["source"] == "published"
        name = f"trial {self.trial['number']}{' (published)' if published else ''}"
        tags = {**self.search.tags, KIND: TRIAL, "trial": str(self.trial["number"])}
        return self.client.create_run(
            self.experiment_id, start_time=start, tags=tags, run_name=name
        )

    def _new_points(self, run: Any) -> list[Point]:
        """The tag that counts the epochs follows later: after a crash between, the same points are written.

        MLflow keeps one of two points with equal key, step, time and value.
        """
        epochs = self._epochs
        done = int(run.data.tags.get(SYNCED, "0").partition(" ")[0])
        points = [point for epoch in epochs[done:] for point in epoch]
        wanted = {**self._values(), **self._costs()}
        moment, step = self._end(run), max((point.step for point in self.curves()), default=0)
        new = {key: value for key, value in wanted.items() if run.data.metrics.get(key) != value}
        return points + [Point(key, value, moment, step) for key, value in new.items()]

    def _values(self) -> dict[str, float]:
        seeds = {f"{OBJECTIVE}/seed_{seed}": value for seed, value in self.trial["values"].items()}
        found = {OBJECTIVE: self.trial["value"], **seeds}
        return {
            key: float(value)
            for key, value in found.items()
            if value is not None and math.isfinite(value)
        }

    def _costs(self) -> dict[str, float]:
        """What a trial has computed, once it has ended."""
        known = self.trial["state"] != "RUNNING" and self.trial.get("compute_tmac") is not None
        return {COST: float(self.trial["compute_tmac"])} if known else {}

    def _params(self) -> dict[str, str]:
        return {mlflow_name(name): _text(value) for name, value in self.trial["params"].items()}

    def _tags(self, word: str) -> dict[str, str]:
        epochs = self._epochs
        reasons = [last.reason for *_, last in self.journals if isinstance(last, Failed)]
        return {
            **self.search.tags,
            KIND: TRIAL,
            "trial": str(self.trial["number"]),
            "source": self.trial["source"],
            "state": word,
            "reason": "; ".join(sorted(set(reasons)))[:LONGEST_TAG] if word == "failed" else "",
            "cells": ", ".join(cell for _, cell in sorted(self.trial["cells"].items())),
            "optuna.study": self.search.record.get("optuna_study", self.search.key),
            "optuna.trial": str(self.trial["number"]),
            SYNCED: f"{len(epochs)} {_checksum(epochs)}",
        }

    def _state(self) -> tuple[str, str]:
        state = self.trial["state"]
        return _INTERRUPTED if state == "RUNNING" and not self.running else _STATES[state]

    def _end(self, run: Any) -> int:
        return int(
            max((records[-1].time for records in self.journals), default=run.info.start_time)
        )


def _means(records: Sequence[EarlyEpoch | Epoch]) -> Iterator[Point]:
    """One epoch of all seeds, at the time when the last of them had it."""
    moment, step = max(record.time for record in records), records[0].epoch + 1
    for key in records[0].metrics:
        values = [record.metrics.get(key, math.nan) for record in records]
        if all(map(math.isfinite, values)):
            yield Point(mlflow_name(key), math.fsum(values) / len(values), moment, step)


def _checksum(epochs: Sequence[Sequence[Point]]) -> str:
    return f"{zlib.crc32(json.dumps(epochs).encode()):08x}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _report(
    client: Client, experiment_id: str, search: _Search, candidates: Sequence[Any], times: list[int]
) -> str:
    """The search's one run with its pictures, its record and its best settings."""
    summary, figures = _summary(search), [search.folder / name for name in search.record["figures"]]
    texts = {"search.json": search.text, "best.md": summary}
    there = [path for path in figures if path.exists()]
    return report_run.write_report(
        client, experiment_id, candidates, search.tags, summary, there, texts, times
    )[1]


def _summary(search: _Search) -> str:
    """What a search found, in Markdown; its first line is the result in one sentence."""
    record = search.record
    trials = record["trials"]
    first = next((trial for trial in trials if trial["source"] == "published"), None)
    best = next((trial for trial in trials if trial["number"] == record["best"]), None)
    lines = [" ".join(record["gained"].split()), ""]
    head = [
        "setting",
        "published",
        "none complete" if best is None else f"best: trial {best['number']}",
        "searched",
    ]
    rows = [
        [
            name,
            record["published"].get(name),
            None if best is None else best["params"].get(name),
            span,
        ]
        for name, span in record["space"].items()
    ]
    values = [None if trial is None else trial["value"] for trial in (first, best)]
    seeds = ", ".join(map(str, record["seeds"]))
    rows.append(
        [f"**{record['objective']}**", *values, f"mean of seeds {seeds}; validation images alone"]
    )
    lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows), ""]
    states = [_STATES[trial["state"]][1].replace("running", "not ended") for trial in trials]
    counted = ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states))
    lines += [
        f"{record['row']} on {record['pair']} ({record['teacher']} teaches {record['student']}, {record['dataset']}): "
        f"{len(trials)} of {record['budget']} trials begun ({counted}), sampler {record['sampler']}.",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_cell(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _write_views(
    client: Client, experiment: Any, search: _Search, curves: set[str], warn: Callable[[str], None]
) -> None:
    """The format of views is MLflow's own, so whatever goes wrong with them stops nothing."""
    try:
        report_run.write_views(client, experiment, search_views(search.key, search.record, curves))
    except Exception as error:
        warn(
            f"{search.record['experiment']}: its saved views in MLflow could not be written ({first_line(error)})"
        )


COORDINATES, TABLE, CURVES = "search-coordinates", "search-trials", "search-curves"
"""Keys of the views of a search."""


def search_views(key: str, record: Mapping[str, Any], curves: set[str]) -> list[View]:
    """The views of a search.  curves: the metrics that its trials have by epoch."""
    params = [mlflow_name(name) for name in record["space"]]
    numbers = [
        mlflow_name(name)
        for name in record["space"]
        if all(_is_number(trial["params"].get(name)) for trial in record["trials"])
    ]
    where = f"{tag(KIND)} = '{TRIAL}' and {tag(SEARCH)} = '{key}'"
    seeds = [metric(f"{OBJECTIVE}/seed_{seed}") for seed in record["seeds"]]
    settings = [param(name) for name in params]
    order, ascending = metric(OBJECTIVE), not record["maximise"]
    short = [order, *settings]
    full = [order, *seeds, *settings, tag("source"), tag("state"), metric(COST)]

    coordinates = views.table(
        COORDINATES, "Search: settings and objective", where, short, order, ascending
    )
    pairs = list(itertools.combinations(numbers, 2))[: _MOST_CHARTS // 2]
    goal: views.Axis = ("METRIC", OBJECTIVE)
    sections = {
        "All settings": [views.parallel(params, [OBJECTIVE])],
        "Two settings": [views.contour(("PARAM", x), ("PARAM", y), goal) for x, y in pairs],
        "One setting": [views.scatter(("PARAM", name), goal) for name in params[:_MOST_CHARTS]],
    }
    shown = sorted(
        curves, key=lambda name: (name != record["objective"], not name.startswith("val/"), name)
    )
    lines = [views.line(name) for name in shown if name.startswith(("val/", "loss/", "train/"))][
        :_MOST_CHARTS
    ]
    everything = {
        *curves,
        OBJECTIVE,
        COST,
        *(f"{OBJECTIVE}/seed_{seed}" for seed in record["seeds"]),
    }
    table = views.table(TABLE, "Search: all trials", where, full, order, ascending)
    over = views.table(CURVES, "Search: curves", where, short, order, ascending)
    return [
        views.charted(coordinates, sections, {"All settings": 1, "Two settings": 2}, everything),
        table,
        views.charted(
            over, {"Means over the seeds": lines}, {"Means over the seeds": 2}, everything
        ),
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def addresses(base: str, experiment_id: str) -> dict[str, str]:
    """Where a browser finds the views of a search.  base: of MLflow's server."""
    return {
        "coordinates": views.address(base, experiment_id, COORDINATES, charts=True),
        "trials": views.address(base, experiment_id, TABLE, charts=False),
        "curves": views.address(base, experiment_id, CURVES, charts=True),
    }
