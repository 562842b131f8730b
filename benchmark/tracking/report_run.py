"""Writes a study's or a search's report, description and views to MLflow, next to its runs.

They are derived from the records, and written only if they have changed. No result depends on them,
so `publish` warns about failures and raises nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import first_line
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import search_views, server, study_views, views
from benchmark.tracking.client import Client
from benchmark.tracking.experiments import open_experiment
from benchmark.tracking.ownership import holders, is_shown, shown_workspace
from benchmark.tracking.projection import Outcome
from benchmark.tracking.store import Store
from benchmark.tracking.tags import (
    CONTENT,
    KIND,
    LONGEST_TAG,
    NOTE,
    REPORT,
    REPORT_PAGE,
    REPORT_RUN,
    RESULT,
    RUN,
    SCHEMA,
    SCHEMA_VERSION,
    SEARCH,
    STUDY,
    TEACHER,
    WORKSPACE,
)
from benchmark.tracking.views import View

if TYPE_CHECKING:
    from benchmark.study.plan import Plan


@dataclass(frozen=True)
class Report:
    """The content of a report run.

    Attributes:
        tags: Tags of the run.
        note: Description of the run, in Markdown.
        files: Files to copy into the run.
        texts: Contents of further text files, by name.
        times: Timestamps in milliseconds since 1970; the run spans them.
        kind: Kind and name of the run.
    """

    tags: Mapping[str, str]
    note: str
    files: Sequence[Path]
    texts: Mapping[str, str] = field(default_factory=dict)
    times: Sequence[int] = ()
    kind: str = REPORT

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """All files by name."""
        files = {path.name: path.read_bytes() for path in self.files}
        return files | {name: text.encode() for name, text in self.texts.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all files and their names."""
        digest = hashlib.sha256()
        for name, content in sorted(self.contents.items()):
            digest.update(f"{name} {len(content)} ".encode() + content)

        return digest.hexdigest()


def write_report(
    client: Client, experiment_id: str, candidates: Sequence[Any], report: Report
) -> tuple[str, Outcome]:
    """Write what a report run lacks, or create a new run.

    Args:
        client: Client of the store.
        experiment_id: MLflow's id of the experiment.
        candidates: Runs of the same report. The first is updated; the others are superseded. The
            first is superseded as well if it has a file that the report no longer has, because
            MLflow's client cannot delete a file.
        report: The content of the run.

    Returns:
        MLflow's id of the run, and whether it was created, updated or unchanged.
    """
    run = _reusable(client, candidates, report)
    complete = run is not None and run.data.tags.get(CONTENT) == report.digest
    others = [candidate for candidate in candidates if candidate is not run]

    tags = {**report.tags, KIND: report.kind}
    if run is None:
        start = min(report.times, default=time.time_ns() // 1_000_000)
        run = client.start_run(experiment_id, start_time=start, tags=tags, run_name=report.kind)
        # If its files cannot be written, or this process is killed, nobody waits for the run.
        client.set_status(run, "FAILED", start)

    changes = [client.supersede(other) for other in others]
    changes.append(client.claim(run))
    if not complete:
        _write_files(client, run, report)

    # The digest is written after the files. After a crash in between, they are written again.
    tags |= {NOTE: report.note[:LONGEST_TAG], CONTENT: report.digest}
    changes.append(client.label(run, {}, tags))

    end = max(report.times, default=run.info.start_time)
    changes.append(client.set_status(run, "FINISHED", end))

    identity: str = run.info.run_id
    if not candidates:
        return identity, "created"
    return identity, "updated" if any(changes) else "unchanged"


def _reusable(client: Client, candidates: Sequence[Any], report: Report) -> Any | None:
    """Return the first candidate, unless it has a file that the report no longer has."""
    if not candidates:
        return None

    first = candidates[0]
    if first.data.tags.get(CONTENT) == report.digest:
        return first

    # A report that other workspaces show as well must not change.
    if any(name != client.workspace for name in holders(first)):
        return None

    return first if _file_names(client, first) <= report.contents.keys() else None


def _write_files(client: Client, run: Any, report: Report) -> None:
    for path in report.files:
        client.log_artifact(run.info.run_id, str(path))

    for name, text in report.texts.items():
        client.log_text(run.info.run_id, text, name)


def _file_names(client: Client, run: Any) -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def write_views(client: Client, experiment: Any, new_views: Sequence[View]) -> None:
    """Save views, leaving those with unchanged content untouched."""
    now = time.time_ns() // 1_000_000
    tags = {view.tag: views.pack(view, experiment.tags.get(view.tag), now) for view in new_views}
    client.tag_experiment(experiment, tags)


def publish(
    experiment: str,
    store: Store,
    plan: Plan,
    note: str,
    files: Sequence[Path],
    warn: Callable[[str], None],
) -> None:
    """Write a study's report, its description and its views.

    A workspace that shares the experiment with the one it belongs to writes only its own report.

    Args:
        experiment: Name of the study's experiment.
        store: The store that contains it.
        plan: Plan of the study.
        note: The description, in Markdown; its first line is the result in one sentence.
        files: The files of the report.
        warn: Receives a message for each distinct reason for failure.
    """
    failures: dict[str, str] = {}

    with _noting(failures, "its report and views"):
        client, opened = open_experiment(store, experiment, {STUDY: plan.study})
        client.workspace = shown_workspace(opened, store)
        found = client.search(opened.experiment_id, f"tags.study = '{plan.study}'")
        runs = [run for run in found if is_shown(holders(run), client.workspace)]
        trained = [run for run in runs if run.data.tags.get(KIND) in (RUN, TEACHER)]
        owner = opened.tags.get(WORKSPACE, "")

        with _noting(failures, "its report"):
            tags = {SCHEMA: SCHEMA_VERSION, "study": plan.study, RESULT: note.partition("\n")[0]}
            report = Report(tags, note, files, times=_times(trained))
            identity, _ = write_report(
                client, opened.experiment_id, _study_reports(opened, runs), report
            )
            if client.workspace == owner:
                client.tag_experiment(opened, {REPORT_RUN: identity})
                if any(path.name == REPORT_PAGE for path in files):
                    note = _with_link(note, server.report_path(opened.experiment_id, identity))

        if client.workspace != owner:
            return  # description and views are those of the experiment's own workspace

        with _noting(failures, "its description"):
            client.tag_experiment(opened, {NOTE: note[:LONGEST_TAG]})

        with _noting(failures, "its saved views"):
            write_views(client, opened, _views(trained))

    for reason, part in failures.items():
        warn(f"{experiment}: could not write {part} to MLflow ({reason})")


@contextlib.contextmanager
def _noting(failures: dict[str, str], part: str) -> Iterator[None]:
    """Record a failure instead of raising it, once for each reason."""
    try:
        yield
    except Exception as error:
        failures.setdefault(first_line(error), part)


def _study_reports(experiment: Any, runs: Sequence[Any]) -> list[Any]:
    """Return the reports of a study; the one in the experiment's tag comes first."""
    current = experiment.tags.get(REPORT_RUN)
    reports = [
        run for run in runs if run.data.tags.get(KIND) == REPORT and SEARCH not in run.data.tags
    ]
    return sorted(reports, key=lambda run: (run.info.run_id != current, run.info.run_id))


def _times(runs: Sequence[Any]) -> list[int]:
    """Return the start and end times of runs."""
    times = [run.info.start_time for run in runs] + [run.info.end_time for run in runs]
    return [moment for moment in times if moment]


def _views(trained: Sequence[Any]) -> list[View]:
    """Return the views for the runs of cells and teachers."""
    cells = [run.data.tags for run in trained if run.data.tags.get(KIND) == RUN]
    metrics = {key for run in trained for key in run.data.metrics}
    crowded = len(trained) > study_views.PAGE_SIZE
    return study_views.study_views(metrics, cells, crowded=crowded)


def _with_link(note: str, address: str) -> str:
    """Append a link to the first line, the only one that MLflow shows until it is unfolded."""
    first, _, rest = note.partition("\n")
    return f"{first} [Report]({address})\n{rest}"


def addresses(base: str, store: Store) -> dict[str, dict[str, str]]:
    """Return the addresses of each study and search of a store, by experiment and by page.

    An experiment whose views have not been written has only the page `runs`.

    Args:
        base: Address of MLflow's server.
        store: The store that the server serves.

    Raises:
        TrackingError: The store cannot be reached.
    """
    shown_base = server.without_password(base)
    experiments = sorted(tracking_runs.studies(store), key=lambda experiment: experiment.name)
    return {
        experiment.name: _experiment_addresses(shown_base, experiment) for experiment in experiments
    }


def _experiment_addresses(base: str, experiment: Any) -> dict[str, str]:
    """Return the addresses of an experiment's pages; if it has no view, the address of its runs."""
    pages = {
        "leaderboard": (study_views.LEADERBOARD, False),
        **_further_leaderboards(experiment),
        "runs": (study_views.RUNS, False),
        "curves": (study_views.CURVES, True),
    }
    if SEARCH in experiment.tags:
        pages = {"search": (search_views.COORDINATES, True)}

    identity = experiment.experiment_id
    saved = {
        page: views.address(base, identity, key, charts=charts)
        for page, (key, charts) in pages.items()
        if views.PREFIX + key in experiment.tags
    }
    if not saved:
        return {"runs": server.addresses(base, identity)["runs"]}

    report = experiment.tags.get(REPORT_RUN)
    if report is not None:
        saved["report"] = f"{base}/{server.report_path(identity, report)}"
    return saved


def _further_leaderboards(experiment: Any) -> dict[str, tuple[str, bool]]:
    """Return the views of tuned rows, by title: `leaderboard-20-trials` is `20 trials`."""
    prefix = f"{views.PREFIX}{study_views.LEADERBOARD}-"
    keys = sorted(tag for tag in experiment.tags if tag.startswith(prefix))
    return {
        key.removeprefix(prefix).replace("-", " "): (key.removeprefix(views.PREFIX), False)
        for key in keys
    }
