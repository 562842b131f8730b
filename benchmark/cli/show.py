"""Single runs in the terminal: the settings, results and curve of one, and in what several differ."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cli.tables import table
from benchmark.errors import InputError
from benchmark.redact import shown
from benchmark.tracking import server
from benchmark.tracking.client import Client
from benchmark.tracking.runs import studies
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, SUPERSEDED

_TAGS = (
    "study",
    "pair",
    "method",
    "seed",
    "teacher",
    "teacher_id",
    "student",
    "dataset",
    "source",
    "cell",
)

_RESULTS = ("test/", "objective", "val/", "train/", "loss/", "early/loss/", "cost/")
"""Beginnings of the metrics that are shown, in this order."""

_CURVES = ("val/acc1", "train/acc1", "loss/total")
_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 60
_NONE = "-"


@dataclass(frozen=True)
class Recorded:
    """A run as MLflow holds it.  metrics: their last values. same: older runs of the same cell, in words."""

    experiment: str
    experiment_id: str
    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    same: tuple[str, ...] = ()


def find(names: Sequence[str], store: Store) -> list[Recorded]:
    """The runs with these names: the identity of a cell or of a run of MLflow, or the beginning of one.

    Of several runs of one cell, for instance in two studies, it is the newest.

    Raises:
        InputError: no run has such a name, or several runs of different cells.
        TrackingError: the store cannot be reached.
    """
    if store.database is not None and not store.database.exists():
        raise InputError(f"{store.database}: nothing is recorded there yet")
    client, experiments = Client(store), {one.experiment_id: one.name for one in studies(store)}
    return [_one(name, client, experiments, store) for name in names]


def _one(name: str, client: Client, experiments: Mapping[str, str], store: Store) -> Recorded:
    found: dict[str, Any] = {}
    if re.fullmatch("[0-9a-f]+", name) and experiments:
        for condition in (f"attributes.run_id LIKE '{name}%'", f"tags.cell LIKE '{name}%'"):
            page = client.search_runs([*experiments], condition, max_results=100)
            found |= {run.info.run_id: run for run in page if KIND in run.data.tags}
    exact = [run for run in found.values() if name in (run.info.run_id, run.data.tags.get("cell"))]
    runs = exact or [*found.values()]
    runs = [run for run in runs if run.data.tags[KIND] != SUPERSEDED] or runs
    if not runs:
        raise InputError(
            f"{name or 'RUN: empty'}: no run in {shown(store.uri)}; `kdbench status STUDY` lists the cells of a study"
        )
    runs.sort(key=lambda run: (-run.info.start_time, run.info.run_id))
    if len({run.data.tags.get("cell", run.info.run_id) for run in runs}) > 1:
        known = sorted(f"{_matched(run, name)[:12]} ({run.info.run_name})" for run in runs)
        more = f" and {len(runs) - 4} more" if len(runs) > 4 else ""
        raise InputError(
            f"{name}: may be {', '.join(known[:4])}{more}; give more digits, or the run's own"
        )
    newest, *others = runs
    info, data = newest.info, newest.data
    same = tuple(
        f"{run.info.run_id[:12]} in {experiments[run.info.experiment_id]}" for run in others
    )
    return Recorded(
        experiments[info.experiment_id], info.experiment_id, info.run_id, info.run_name, info.status,
        data.tags, data.params, data.metrics, same,
    )  # fmt: skip


def _matched(run: Any, name: str) -> str:
    """The identity of a run that begins with a name: MLflow's or its cell's."""
    return str(run.info.run_id if run.info.run_id.startswith(name) else run.data.tags["cell"])


def curve(run: Recorded, store: Store) -> tuple[str, list[float]]:
    """The validation accuracy of a run over its epochs, or what comes nearest; the metric's name first."""
    key = next((key for key in _CURVES if key in run.metrics), "")
    points = Client(store).get_metric_history(run.run_id, key) if key else []
    return key, [
        point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))
    ]


def sparkline(values: Sequence[float]) -> str:
    """Bars of eight heights, lowest to highest; of many values each bar is the mean of some that follow each other."""
    values = [value for value in values if math.isfinite(value)]
    count = min(len(values), _WIDEST)
    cuts = [place * len(values) // max(count, 1) for place in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(cuts)]
    least, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    return "".join(
        _BARS[round((value - least) / span * (len(_BARS) - 1))] if span else _BARS[3]
        for value in means
    )


def show(run: Recorded, store: Store) -> RenderableType:
    """What a run is, its settings, its results, its curve, and where a browser finds it."""
    head = [f"{run.name} in {run.experiment}: {run.status.lower()}"]
    if run.tags.get("reason"):
        head.append(run.tags["reason"])
    head += [f"the same cell: {', '.join(run.same)}"] * bool(run.same)
    known = [[name.replace("_", " "), run.tags[name]] for name in _TAGS if run.tags.get(name)]
    known += [
        ["run", run.run_id],
        *([["environment", it]] if (it := run.tags.get("environment")) else []),
    ]
    parts: list[RenderableType] = [Text("\n".join(head)), table("", ["", ""], known)]
    if run.params:
        parts += [
            Text(),
            table("", ["setting", "value"], sorted([*item] for item in run.params.items())),
        ]
    if results := _results(run):
        parts += [
            Text(),
            table("", ["metric", "value"], [[key, _number(run.metrics[key])] for key in results]),
        ]
    key, values = curve(run, store)
    if values:
        parts += [Text(), Text(f"{key}  {_drawn(values)}")]
    return Group(*parts, Text(), Text(_link(run, store)))


def _drawn(values: Sequence[float]) -> str:
    over = f"{values[0]:.4g} to {values[-1]:.4g} over {len(values)} epoch{'s' * (len(values) != 1)}"
    return f"{sparkline(values)}  {over}"


def _link(run: Recorded, store: Store) -> str:
    local = store.database is not None
    base = server.addresses("http://127.0.0.1:5000" if local else store.uri, run.experiment_id)[
        "runs"
    ]
    address = base.replace("/runs?", f"/runs/{run.run_id}?")
    return f"while `kdbench ui` runs: {address}" if local else address


def compare(runs: Sequence[Recorded], store: Store) -> RenderableType:
    """A column for each run and a line for everything in which they differ; below, the curve of each and its address.

    Raises:
        InputError: two of them are one run.
    """
    if len({run.run_id for run in runs}) < len(runs):
        raise InputError("RUN RUN...: the same run twice; give runs that may differ")
    names = [run.name for run in runs]
    heads = [
        f"{run.name} ({run.run_id[:8]})" if names.count(run.name) > 1 else run.name for run in runs
    ]
    rows = (
        [["status", *(run.status.lower() for run in runs)]]
        if len({run.status for run in runs}) > 1
        else []
    )
    rows += _differing([*_TAGS, "environment", "reason"], runs, lambda run: run.tags, str)
    rows += _differing(
        sorted({key for run in runs for key in run.params}), runs, lambda run: run.params, str
    )
    keys = dict.fromkeys(
        key for start in _RESULTS for run in runs for key in _results(run) if key.startswith(start)
    )
    rows += _differing([*keys], runs, lambda run: run.metrics, _number)
    parts = [table("", ["", *heads], rows) if rows else Text("no setting and no metric differs")]
    for head, run in zip(heads, runs, strict=True):
        told = [
            f"the same cell: {', '.join(run.same)}; this is the one in {run.experiment}"
        ] * bool(run.same)
        key, values = curve(run, store)
        told += [f"{key}  {_drawn(values)}"] * bool(values)
        parts += [Text(), Text("\n".join([head, *told, _link(run, store)]))]
    return Group(*parts)


def _differing(
    keys: Sequence[str],
    runs: Sequence[Recorded],
    part: Callable[[Recorded], Mapping[str, Any]],
    cell: Callable[[Any], str],
) -> list[list[str]]:
    rows = []
    for key in keys:
        values = [part(run).get(key) for run in runs]
        if any(value != values[0] for value in values):
            rows.append([key, *(_NONE if value in (None, "") else cell(value) for value in values)])
    return rows


def _results(run: Recorded) -> list[str]:
    return [key for start in _RESULTS for key in sorted(run.metrics) if key.startswith(start)]


def _number(value: float) -> str:
    return (
        f"{value:.0f}"
        if math.isfinite(value) and value == round(value) and abs(value) < 1e15
        else f"{value:.5g}"
    )
