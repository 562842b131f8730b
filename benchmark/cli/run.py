"""`run`: trains the cells of a study, while a second process writes their journals to MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from benchmark.cli.leaderboard import print_leaderboard, publish_leaderboard
from benchmark.cli.options import (
    CohortSize,
    Device,
    StudyFile,
    TrackingUri,
    load_study,
    mlflow_store,
    workspace_of,
)
from benchmark.cli.screen import print_wide, progress_display, say, tell
from benchmark.errors import InputError
from benchmark.records.layout import Workspace
from benchmark.wording import counted

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared
    from benchmark.execution.run import Summary
    from benchmark.study.study import Study
    from benchmark.tracking.store import Store
    from benchmark.training.progress import Progress


class Choices(StrEnum):
    """The settings that a comparison uses."""

    published = "published"
    tuned = "tuned"


def run(
    context: typer.Context,
    study: StudyFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, cohorts and cost; train nothing.")
    ] = False,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record in MLflow while training.")
    ] = True,
    cohort_size: CohortSize = None,
    settings: Annotated[
        Choices, typer.Option(help="tuned: add rows with the settings that `kdbench tune` found.")
    ] = Choices.published,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train the unfinished cells of a study, then print its leaderboard if it is tracked."""
    from benchmark.execution import environment, prepare
    from benchmark.execution import run as execution
    from benchmark.execution.session import Session
    from benchmark.search import tuned

    workspace = Workspace(workspace_of(context))
    loaded = load_study(study)
    if settings is Choices.tuned:
        loaded = tuned.with_tuned_rows(loaded, tuned.settings_file(study))

    store = mlflow_store(context, loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
    if dry_run:
        _print_plan(prepared, workspace.path, cohort_size)
        return

    environment.make_repeatable()
    folder = workspace.study(loaded.name).path
    with progress_display() as progress, _follower(folder, store, progress) as is_recorded:
        versions = environment.environment(chosen)
        session = Session(workspace, str(study), chosen, versions, progress)
        summary = execution.run(prepared, session, cohort_size)

    _print_summary(summary, prepared)
    if not is_recorded():
        tell(f"recorded in {folder}; run `kdbench sync {study}` to write it to MLflow")
    elif store is not None:
        _print_table(loaded, study, store)
    if summary.failed:
        raise SystemExit(1)


def _print_table(loaded: Study, study: Path, store: Store) -> None:
    try:
        publish_leaderboard(print_leaderboard(loaded.experiment, store))
        tell(f"\n`kdbench leaderboard {study}` writes this table to results/{loaded.name}/")
    except InputError as error:
        # Training is complete and recorded; only the table cannot be made.
        tell(f"no table: {error}")
    tell("`kdbench ui` serves the runs in MLflow")


@contextmanager
def _follower(
    folder: Path, store: Store | None, progress: Progress
) -> Iterator[Callable[[], bool]]:
    """Run a process that writes journals to MLflow while this process trains.

    The new process exits when its standard input closes, however this process ends. The context
    manager yields a function that, after the context has been left, returns whether everything was
    recorded.
    """
    if store is None:
        yield lambda: False
        return

    workspace = str(folder.parent)
    command = [sys.executable, "-m", "benchmark", "--workspace", workspace]
    process = subprocess.Popen(
        [*command, "sync", folder.name, "--follow"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The address may contain a password, which every user could read in the arguments.
        env={**os.environ, "MLFLOW_TRACKING_URI": store.uri},
        # In this process's group, Ctrl+C could reach the child before it ignores the signal.
        process_group=0,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_forward, args=(process.stderr, progress), daemon=True)
    reader.start()
    try:
        yield lambda: process.returncode == 0
    finally:
        process.stdin.close()
        process.wait()
        reader.join()


def _forward(lines: IO[str], progress: Progress) -> None:
    """Show the lines of another process as warnings."""
    with lines:
        for line in lines:
            progress.warn(line.rstrip())


def _print_plan(prepared: Prepared, workspace: Path, cohort_size: int | None) -> None:
    from benchmark.cli import run_plan

    print_wide(run_plan.plan(prepared, workspace, cohort_size, say))


def _print_summary(summary: Summary, prepared: Prepared) -> None:
    tell(
        f"{counted(summary.trained, 'cell')} trained, {summary.already_done} already done, "
        f"{len(summary.failed)} failed"
    )
    for label, reason in summary.failed.items():
        tell(f"failed: {label}: {reason}")
    for name, reason in prepared.not_applicable.items():
        tell(f"not applicable: {name}: {reason}")
