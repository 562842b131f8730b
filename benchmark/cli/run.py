"""`run`: trains what a study asks for, while a second process records it in MLflow."""

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
from benchmark.cli.options import CohortSize, Device, StudyFile, TrackingUri, mlflow_store, options
from benchmark.cli.screen import messages, print_wide, progress_display, say
from benchmark.errors import InputError
from benchmark.records.layout import Workspace

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared
    from benchmark.execution.run import Summary
    from benchmark.tracking.store import Store
    from benchmark.training.progress import Progress


class Choices(StrEnum):
    """Which settings a comparison runs with."""

    published = "published"
    tuned = "tuned"


def run(
    study: StudyFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, cohorts and cost; train nothing.")
    ] = False,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record in MLflow while training.")
    ] = True,
    cohort_size: CohortSize = None,
    settings: Annotated[
        Choices,
        typer.Option(help="tuned: a second row for each that `kdbench tune` found settings for."),
    ] = Choices.published,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train what a study asks for and is not done, then show its leaderboard."""
    from benchmark.execution import environment, prepare
    from benchmark.execution import run as execution_run
    from benchmark.execution.session import Session
    from benchmark.search import tuned as search_tuned
    from benchmark.study.study import load

    loaded = load(study)
    if settings is Choices.tuned:
        loaded = search_tuned.with_tuned_rows(loaded, search_tuned.settings_file(study))
    where = mlflow_store(loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    workspace = Workspace(options.workspace)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
    if dry_run:
        _print_plan(prepared, cohort_size)
        return
    environment.make_repeatable()
    folder = options.workspace / loaded.name
    with progress_display() as progress, _follower(folder, where, progress) as recorded:
        session = Session(workspace, str(study), chosen, environment.environment(chosen), progress)
        summary = execution_run.run(prepared, session, cohort_size)
    _print_summary(summary, prepared)
    if not recorded():
        messages.print(
            f"recorded in {folder}; `kdbench sync {study}` puts it into MLflow", soft_wrap=True
        )
    elif where is not None:
        try:
            publish_leaderboard(
                loaded.experiment, where, *print_leaderboard(loaded.experiment, where), None
            )
            messages.print(
                f"\n`kdbench leaderboard {study}` writes this table to results/{loaded.name}/",
                soft_wrap=True,
            )
        except InputError as error:
            # What was trained is whole and recorded: only its table is refused.
            messages.print(f"no table: {error}", markup=False, soft_wrap=True)
        messages.print("`kdbench ui` opens the runs in MLflow", soft_wrap=True)
    if summary.failed:
        raise SystemExit(1)


@contextmanager
def _follower(
    folder: Path, store: Store | None, progress: Progress
) -> Iterator[Callable[[], bool]]:
    """A process that feeds MLflow from the journals while this one trains; afterwards, whether all is recorded.

    It ends by itself when its standard input does, however this process ends.
    """
    if store is None:
        yield lambda: False
        return
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "--workspace",
        str(folder.parent),
        "sync",
        folder.name,
        "--follow",
    ]
    address = {
        **os.environ,
        "MLFLOW_TRACKING_URI": store.uri,
    }  # not an argument: it may hold a password
    process = subprocess.Popen(  # in a group of its own: Ctrl+C could reach it before it has learned to ignore that
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=address,
        process_group=0,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_pass_on, args=(process.stderr, progress), daemon=True)
    reader.start()
    try:
        yield lambda: process.returncode == 0
    finally:
        process.stdin.close()
        process.wait()
        reader.join()


def _pass_on(lines: IO[str], progress: Progress) -> None:
    with lines:
        for line in lines:
            progress.warn(line.rstrip())


def _print_plan(prepared: Prepared, cohort_size: int | None) -> None:
    """What `run` would do: cells, cohorts, cost."""
    from benchmark.cli import status

    print_wide(status.plan(prepared, options.workspace, cohort_size))


def _print_summary(summary: Summary, prepared: Prepared) -> None:
    """Counts, rows that cannot run, and failures, on standard error."""
    messages.print(
        f"{summary.trained} {'cell' if summary.trained == 1 else 'cells'} trained, {summary.already_done} done before, "
        f"{len(summary.failed)} failed",
        soft_wrap=True,
    )
    for what, reasons in (("not applicable", prepared.not_applicable), ("failed", summary.failed)):
        for name, reason in reasons.items():
            messages.print(f"{what}: {name}: {reason}", markup=False, soft_wrap=True)
