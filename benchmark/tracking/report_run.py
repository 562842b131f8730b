"""What MLflow shows of a study or a search beside its runs: a report with files, a description, and saved views.

All of it is made anew from what is recorded, and written only where it changed. None of a study's numbers depends on
it, so `publish` warns where it fails, and raises nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import first_line
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import server, views
from benchmark.tracking.client import Client, prepare, retire
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, LONGEST_TAG, RUN, STUDY, TEACHER
from benchmark.tracking.views import View, metric, tag

if TYPE_CHECKING:
    from benchmark.study.plan import Plan

REPORT = "report"
"""Kind of a run that holds the files of a study or a search, and no training."""

REPORT_RUN = "kdbench.report"
"""Tag of a study's experiment: MLflow's identity of the report."""

SEARCH = "kdbench.search"
"""Tag of an experiment and its runs: the key of the search."""

NOTE = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run or an experiment, in Markdown."""

_CONTENT = "kdbench.content"
Warn = Callable[[str], None]


def write_report(
    client: Client,
    experiment_id: str,
    candidates: Sequence[Any],
    tags: Mapping[str, str],
    note: str,
    files: Sequence[Path],
    texts: Mapping[str, str],
    times: Sequence[int],
) -> tuple[str, str]:
    """Writes what a report lacks, or a new one; returns MLflow's identity, and `created`, `updated` or `unchanged`.

    candidates: reports of the same; all but the first are superseded, and this too if it has a file that the report no
    longer has, because MLflow's client takes no file away. texts: further files by name. times: moments in
    milliseconds; the report spans them.
    """
    contents = {path.name: path.read_bytes() for path in files} | {
        name: text.encode() for name, text in texts.items()
    }
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    tags = {**tags, KIND: REPORT}
    written = [run for run in candidates[:1] if run.data.tags.get(_CONTENT) == digest.hexdigest()]
    kept = written or [run for run in candidates[:1] if _names(client, run) <= contents.keys()]
    if kept:
        (run,) = kept
    else:
        start = min(times, default=time.time_ns() // 1_000_000)
        run = client.create_run(experiment_id, start_time=start, tags=tags, run_name="report")
    changes = [retire(client, other) for other in candidates[len(kept) :]]
    if not written:
        for path in files:
            client.log_artifact(run.info.run_id, str(path))
        for name, text in texts.items():
            client.log_text(run.info.run_id, text, name)
    # The tag that names the content follows last: after a crash between, the same files are written.
    changes.append(
        client.label(run, {}, {**tags, NOTE: note[:LONGEST_TAG], _CONTENT: digest.hexdigest()})
    )
    changes.append(client.set_status(run, "FINISHED", max(times, default=run.info.start_time)))
    return run.info.run_id, "created" if not candidates else "updated" if any(
        changes
    ) else "unchanged"


def _names(client: Client, run: Any) -> set[str]:
    """The names of a run's files."""
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def write_views(client: Client, experiment: Any, made: Sequence[View]) -> None:
    """Saves views; those that say the same already stay as they are."""
    now = time.time_ns() // 1_000_000
    client.tag_experiment(
        experiment,
        {view.tag: views.pack(view, experiment.tags.get(view.tag), now) for view in made},
    )


def publish(
    experiment: str, store: Store, plan: Plan, note: str, files: Sequence[Path], warn: Warn
) -> None:
    """Writes a study's report with these files, its description and its views. All that fails is told to `warn`.

    note: the description, in Markdown; its first line is the result in one sentence.
    """
    failed: dict[str, str] = {}

    def attempt(what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:
            failed.setdefault(first_line(error), what)

    def everything() -> None:
        client, found = prepare(store, experiment, {STUDY: plan.study})
        identity = found.experiment_id
        runs = client.search(identity, f"tags.study = '{plan.study}'")
        trained = [run for run in runs if run.data.tags.get(KIND) in (RUN, TEACHER)]
        reports = [
            run for run in runs if run.data.tags.get(KIND) == REPORT and SEARCH not in run.data.tags
        ]
        times = [
            time for run in trained for time in (run.info.start_time, run.info.end_time) if time
        ]
        groups = sorted({tuple(run.data.tags.get(name, "") for name in _GROUPS) for run in trained})
        crowded = len(trained) > _PAGE
        keys = {key for run in trained for key in run.data.metrics}

        def report() -> None:
            tags = {"kdbench.schema": "1", "study": plan.study}
            ordered = sorted(
                reports,
                key=lambda run: (run.info.run_id != found.tags.get(REPORT_RUN), run.info.run_id),
            )
            run, _ = write_report(client, identity, ordered, tags, note, files, {}, times)
            client.tag_experiment(found, {REPORT_RUN: run})

        attempt("its report", report)
        attempt("its description", lambda: client.tag_experiment(found, {NOTE: note[:LONGEST_TAG]}))
        attempt(
            "its saved views",
            lambda: write_views(client, found, study_views(keys, groups, crowded)),
        )

    attempt("its report and views", everything)
    for reason, what in failed.items():
        warn(f"{experiment}: {what} in MLflow could not be written ({reason})")


LEADERBOARD, RUNS, CURVES = "leaderboard", "runs", "curves"
"""Keys of the views of a study."""

_GROUPS = ("method", "pair")
_SCORES = ("test/acc1", "test/acc5", "test/f1", "test/ece", "test/agreement")

_COSTS = (
    "cost/compute_tmac", "cost/params", "cost/macs", "cost/latency_ms", "cost/latency_batch64_ms",
    "cost/train_seconds", "cost/teacher_seconds", "cost/peak_memory_mb",
)  # fmt: skip

_PAGE = 100
"""Runs that MLflow loads at once."""

_OVER_EPOCHS = ("val/acc1", "train/acc1", "loss/total")


def study_views(
    keys: Collection[str], groups: Sequence[Sequence[str]], crowded: bool = False
) -> list[View]:
    """The views of a study.

    keys: the metrics that any of its runs has. groups: method and pair of its runs. crowded: whether the runs are more
    than MLflow loads at once. The means are then those of the loaded ones, so whole methods are loaded, by name: the
    runs with the best accuracy alone would flatter methods.
    """

    def there(*names: str) -> list[str]:
        return [name for name in names if name in keys]

    where = f"{tag(KIND)} = '{RUN}'"
    finished = f"{where} and attributes.status = 'FINISHED'"
    order = metric("test/acc1")
    means = [metric(name) for name in there(*_SCORES, *_COSTS)]
    single = [tag(name) for name in ("method", "pair", "seed")]
    single += [
        metric(name)
        for name in there("test/acc1", "test/f1", "val/acc1", *_SCORES[1:2], *_SCORES[3:], *_COSTS)
    ]
    first = tag("method") if crowded else order
    means_of, curves_of = (
        f"First {_PAGE} runs" if crowded else what for what in ("Leaderboard", "Curves")
    )
    name = f"{means_of}: means by method and pair"
    board = views.table(LEADERBOARD, name, finished, means, first, crowded, _GROUPS, groups)
    table = views.table(RUNS, "Runs", where, [*single, tag("reason"), tag("cell")], order)
    name = f"{curves_of}: means over the seeds"
    over = views.table(CURVES, name, where, [order], first, crowded, _GROUPS, groups)
    sections = {
        "Top-1 accuracy on the test images (%)": [views.bar(name) for name in there("test/acc1")],
        "Other scores": [views.bar(name) for name in there(*_SCORES[1:])],
        "Costs": [views.bar(name) for name in there(*_COSTS)],
    }
    lines = {"Over the epochs": [views.line(name) for name in there(*_OVER_EPOCHS)]}
    return [
        views.charted(
            board, sections, {"Top-1 accuracy on the test images (%)": 1, "Other scores": 2}, keys
        ),
        table,
        views.charted(over, lines, {"Over the epochs": 1}, keys),
    ]


def addresses(base: str, store: Store) -> dict[str, dict[str, str]]:
    """Where a browser finds each study and search of a store: by experiment, what is there and its address.

    base: of MLflow's server. Before its views are written, a study has its `runs` alone. Raises TrackingError.
    """
    found = sorted(tracking_runs.studies(store), key=lambda one: one.name)
    return {one.name: _addresses(server.without_password(base), one) for one in found}


def _addresses(base: str, experiment: Any) -> dict[str, str]:
    wanted = {"leaderboard": (LEADERBOARD, False), "runs": (RUNS, False), "curves": (CURVES, True)}
    if SEARCH in experiment.tags:
        wanted = {"search": ("search-coordinates", True)}
    found = {
        what: views.address(base, experiment.experiment_id, key, charts)
        for what, (key, charts) in wanted.items()
        if views.PREFIX + key in experiment.tags
    }
    return found or {"runs": server.addresses(base, experiment.experiment_id)["runs"]}
