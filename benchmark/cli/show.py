"""Single runs on the screen: settings, results and curve of one, and the differences of several."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from benchmark.wording import counted

TAGS = (
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
"""Tags that identify a run."""

RESULTS = ("test/", "objective", "val/", "train/", "loss/", "early/loss/", "cost/")
"""Prefixes of the metrics to show, in this order."""

CURVES = ("val/acc1", "train/acc1", "loss/total")
"""Metrics whose curve may be shown, in order of preference."""

EMPTY = "-"
LISTED = 4
"""Number of runs that an error message lists."""

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 60


@dataclass(frozen=True)
class RecordedRun:
    """A run in MLflow.

    Attributes:
        experiment: Name of its experiment.
        metrics: The last value of each metric.
        older: Other runs of the same cell, in words.
    """

    experiment: str
    experiment_id: str
    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    older: tuple[str, ...] = ()


def find(names: Sequence[str], store: Store) -> list[RecordedRun]:
    """Find runs by name.

    Args:
        names: Identities of cells or of MLflow runs, or prefixes of them. If a cell has several
            runs, for instance in two studies, the newest is taken.
        store: The store to search.

    Raises:
        InputError: No run matches a name, or runs of different cells match it.
        TrackingError: The store cannot be reached.
    """
    if store.database is not None and not store.database.exists():
        raise InputError(f"{store.database}: nothing is recorded there yet")

    client = Client(store)
    experiments = {experiment.experiment_id: experiment.name for experiment in studies(store)}
    return [_find(name, client, experiments, store) for name in names]


def _find(name: str, client: Client, experiments: Mapping[str, str], store: Store) -> RecordedRun:
    runs = _matching(name, client, [*experiments])
    if not runs:
        hint = "`kdbench status STUDY` lists the cells of a study"
        raise InputError(f"{name or 'RUN: empty'}: no run in {shown(store.uri)}; {hint}")

    runs.sort(key=lambda run: (-run.info.start_time, run.info.run_id))
    if len({run.data.tags.get("cell", run.info.run_id) for run in runs}) > 1:
        matches = sorted(f"{_identity(run, name)[:12]} ({run.info.run_name})" for run in runs)
        more = f" and {len(runs) - LISTED} more" if len(runs) > LISTED else ""
        listed = ", ".join(matches[:LISTED])
        raise InputError(f"{name}: matches {listed}{more}; give more digits, or the run's own id")

    newest, *others = runs
    info, data = newest.info, newest.data
    return RecordedRun(
        experiment=experiments[info.experiment_id],
        experiment_id=info.experiment_id,
        run_id=info.run_id,
        name=info.run_name,
        status=info.status,
        tags=data.tags,
        params=data.params,
        metrics=data.metrics,
        older=tuple(
            f"{run.info.run_id[:12]} in {experiments[run.info.experiment_id]}" for run in others
        ),
    )


def _matching(name: str, client: Client, experiments: list[str]) -> list[Any]:
    """Return the runs whose own or cell's identity starts with a name, or only exact matches."""
    if not re.fullmatch("[0-9a-f]+", name) or not experiments:
        return []

    matches: dict[str, Any] = {}
    for condition in (f"attributes.run_id LIKE '{name}%'", f"tags.cell LIKE '{name}%'"):
        for run in client.search_runs(experiments, condition, max_results=100):
            if KIND in run.data.tags:
                matches[run.info.run_id] = run

    runs = list(matches.values())
    whole = [run for run in runs if name in (run.info.run_id, run.data.tags.get("cell"))]
    runs = whole or runs
    return [run for run in runs if run.data.tags[KIND] != SUPERSEDED] or runs


def _identity(run: Any, name: str) -> str:
    """Return the identity of a run that starts with a name: MLflow's or its cell's."""
    run_id = str(run.info.run_id)
    return run_id if run_id.startswith(name) else str(run.data.tags["cell"])


def show(run: RecordedRun, store: Store) -> RenderableType:
    """Return the identity of a run, its settings, results, curve and address."""
    headline = [f"{run.name} in {run.experiment}: {run.status.lower()}"]
    if run.tags.get("reason"):
        headline.append(run.tags["reason"])
    if run.older:
        headline.append(f"also recorded: {', '.join(run.older)}")

    facts = [[name.replace("_", " "), run.tags[name]] for name in TAGS if run.tags.get(name)]
    facts.append(["run", run.run_id])
    if run.tags.get("environment"):
        facts.append(["environment", run.tags["environment"]])

    parts: list[RenderableType] = [Text("\n".join(headline)), table("", ["", ""], facts)]
    if run.params:
        settings = sorted([*item] for item in run.params.items())
        parts += [Text(), table("", ["setting", "value"], settings)]
    if keys := _result_keys(run):
        results = [[key, _number(run.metrics[key])] for key in keys]
        parts += [Text(), table("", ["metric", "value"], results)]
    if curve := _curve(run, store):
        parts += [Text(), Text(curve)]
    return Group(*parts, Text(), Text(_link(run, store)))


def compare(runs: Sequence[RecordedRun], store: Store) -> RenderableType:
    """Return a line for each difference between runs, then each run's curve and address.

    Raises:
        InputError: A run is given twice.
    """
    if len({run.run_id for run in runs}) < len(runs):
        raise InputError("RUN RUN...: a run is given twice; give different runs")

    heads = _heads(runs)
    rows = _differences(runs)
    parts: list[RenderableType] = [
        table("", ["", *heads], rows) if rows else Text("no setting and no metric differs")
    ]
    for head, run in zip(heads, runs, strict=True):
        lines = [head]
        if run.older:
            lines.append(f"also recorded: {', '.join(run.older)}; shown: {run.experiment}")
        if curve := _curve(run, store):
            lines.append(curve)
        parts += [Text(), Text("\n".join([*lines, _link(run, store)]))]
    return Group(*parts)


def sparkline(values: Sequence[float]) -> str:
    """Return bars of eight heights, from the lowest value to the highest.

    Many values are averaged in groups, so that the line has at most 60 bars.
    """
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""

    count = min(len(values), _WIDEST)
    cuts = [index * len(values) // count for index in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(cuts)]

    lowest, span = min(means), max(means) - min(means)
    if not span:
        return _BARS[3] * count
    heights = [round((mean - lowest) / span * (len(_BARS) - 1)) for mean in means]
    return "".join(_BARS[height] for height in heights)


def _curve(run: RecordedRun, store: Store) -> str:
    """Return a run's accuracy or loss over its epochs as a line; empty if none is recorded."""
    key = next((key for key in CURVES if key in run.metrics), None)
    if key is None:
        return ""

    points = Client(store).get_metric_history(run.run_id, key)
    points = sorted(points, key=lambda point: (point.step, point.timestamp))
    values = [point.value for point in points]
    if not values:
        return ""

    span = f"{values[0]:.4g} to {values[-1]:.4g} over {counted(len(values), 'epoch')}"
    return f"{key}  {sparkline(values)}  {span}"


def _link(run: RecordedRun, store: Store) -> str:
    """Return the address of a run's page."""
    local = store.database is not None
    base = "http://127.0.0.1:5000" if local else store.uri
    runs = server.addresses(base, run.experiment_id)["runs"]
    address = runs.replace("/runs?", f"/runs/{run.run_id}?")
    return f"while `kdbench ui` runs: {address}" if local else address


def _heads(runs: Sequence[RecordedRun]) -> list[str]:
    """Return run names as column headers; the identity is added to runs with the same name."""
    names = [run.name for run in runs]
    heads = []
    for run in runs:
        twin = names.count(run.name) > 1
        heads.append(f"{run.name} ({run.run_id[:8]})" if twin else run.name)
    return heads


def _differences(runs: Sequence[RecordedRun]) -> list[list[str]]:
    """Return a line per status, tag, setting and metric that is not the same in all runs."""
    settings = sorted({key for run in runs for key in run.params})
    metrics = dict.fromkeys(
        key
        for start in RESULTS
        for run in runs
        for key in _result_keys(run)
        if key.startswith(start)
    )
    rows = _differing(["status"], runs, lambda run: {"status": run.status.lower()}, str)
    rows += _differing([*TAGS, "environment", "reason"], runs, lambda run: run.tags, str)
    rows += _differing(settings, runs, lambda run: run.params, str)
    rows += _differing(metrics, runs, lambda run: run.metrics, _number)
    return rows


def _differing(
    keys: Iterable[str],
    runs: Sequence[RecordedRun],
    part: Callable[[RecordedRun], Mapping[str, Any]],
    text: Callable[[Any], str],
) -> list[list[str]]:
    rows = []
    for key in keys:
        values = [part(run).get(key) for run in runs]
        if any(value != values[0] for value in values):
            rows.append([key, *(EMPTY if value in (None, "") else text(value) for value in values)])
    return rows


def _result_keys(run: RecordedRun) -> list[str]:
    """Return the metrics of a run that are shown, in order."""
    keys = sorted(run.metrics)
    return [key for start in RESULTS for key in keys if key.startswith(start)]


def _number(value: float) -> str:
    whole = math.isfinite(value) and value == round(value) and abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:.5g}"
