"""`run`: trains the cells of a study, while a second process writes their journals to MLflow."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from benchmark.cli.leaderboard import print_leaderboard, publish_leaderboard
from benchmark.cli.options import (
    EXECUTOR,
    CheckpointMinutes,
    CohortSize,
    Device,
    Engine,
    ExecutorName,
    StepMinutes,
    StudyFile,
    Threads,
    TrackingUri,
    Workers,
    load_study,
    mlflow_store,
    opened_executor,
    workspace_of,
)
from benchmark.cli.screen import print_wide, progress_display, say, tell
from benchmark.errors import InputError
from benchmark.execution.executors import CHECKPOINT_MINUTES, STEP_MINUTES
from benchmark.records.layout import Workspace
from benchmark.training.engine_choice import EngineChoice
from benchmark.wording import counted, duration

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared
    from benchmark.execution.run import Summary
    from benchmark.study.study import Study
    from benchmark.tracking.store import Store


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
    keep_stale: Annotated[
        bool,
        typer.Option(
            "--keep-stale",
            help="Keep finished cells whose code has changed since, and mark them in the table.",
        ),
    ] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Set finished cells aside and train them again; nothing is deleted."
        ),
    ] = False,
    system_metrics: Annotated[
        bool,
        typer.Option(
            "--system-metrics",
            help="Record load and memory of this machine in MLflow; needs kdbench[system].",
        ),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Trace a few steps of each cohort, run eagerly; print the costliest operators.",
        ),
    ] = False,
    executor: ExecutorName = EXECUTOR,
    workers: Workers = None,
    threads: Threads = None,
    step_minutes: StepMinutes = STEP_MINUTES,
    checkpoint_minutes: CheckpointMinutes = CHECKPOINT_MINUTES,
    device: Device = None,
    engine: Engine = EngineChoice.AUTO,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train the unfinished cells of a study, then print its leaderboard if it is tracked."""
    from benchmark.execution import cell_code, environment, machine, prepare
    from benchmark.execution import run as execution
    from benchmark.execution.session import Session
    from benchmark.search import tuned
    from benchmark.tracking.follower import following
    from benchmark.tracking.system_metrics import require_psutil

    if system_metrics and not track:
        raise InputError("--system-metrics and --no-track contradict each other; leave one out")
    if system_metrics:
        require_psutil()
    if keep_stale and retrain:
        raise InputError("--keep-stale and --retrain contradict each other; leave one out")
    if profile and dry_run:
        raise InputError("--profile and --dry-run contradict each other; leave one out")

    workspace = Workspace(workspace_of(context))
    loaded = load_study(study)
    if settings is Choices.tuned:
        loaded = tuned.with_tuned_rows(loaded, tuned.settings_file(study))

    store = mlflow_store(context, loaded, tracking_uri) if track else None
    with opened_executor(executor, workers, needed=not dry_run) as opened:
        chosen = environment.device(device)
        environment.check_engine(engine, chosen)
        machine.use_threads(threads, chosen, opened.workers)
        prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
        if dry_run:
            _print_plan(prepared, workspace.path, cohort_size, opened.workers)
            return

        environment.make_repeatable()
        folder = workspace.study(loaded.name).path
        with (
            progress_display() as progress,
            following(folder, store, progress.warn, system_metrics=system_metrics) as is_recorded,
        ):
            versions = environment.environment(chosen, cell_code.sources(prepared))
            session = Session(
                workspace,
                str(study),
                chosen,
                versions,
                progress,
                opened,
                step_minutes,
                checkpoint_minutes,
                EngineChoice.EAGER if profile else engine,
                profile,
            )
            summary = execution.run(
                prepared, session, cohort_size, keep_stale=keep_stale, retrain=retrain
            )

    _print_summary(summary, prepared)
    if profile:
        _print_profiles(workspace.study(loaded.name).profiles if summary.trained else None)
    if not is_recorded():
        tell(f"recorded in {folder}; run `kdbench sync {study}` to write it to MLflow")
    elif store is not None:
        _print_table(loaded, study, store)
    if summary.failed:
        raise SystemExit(1)


def _print_table(loaded: Study, study: Path, store: Store) -> None:
    try:
        publish_leaderboard(print_leaderboard(loaded.experiment, store))
        tell("")
        tell(f"`kdbench leaderboard {study}` writes this table to results/{loaded.name}/")
    except InputError as error:
        # Training is complete and recorded; only the table cannot be made.
        tell(f"no table: {error}")
    tell("`kdbench ui` serves the runs in MLflow")


def _print_plan(prepared: Prepared, workspace: Path, cohort_size: int | None, workers: int) -> None:
    from benchmark.cli import run_plan

    print_wide(run_plan.plan(prepared, workspace, cohort_size, say, workers))


def _print_profiles(folder: Path | None) -> None:
    """Print the most expensive operators of each cell, if any was trained."""
    files = [] if folder is None else sorted(folder.glob("*.txt"))
    if not files:
        tell("no step was traced: nothing was trained, or an epoch has only one batch")
        return

    for file in files:
        trace = file.with_suffix(".json.gz")
        tell(f"{trace}: open it in https://ui.perfetto.dev or chrome://tracing")
        print_wide(Text(file.read_text(encoding="utf-8")))


def _print_summary(summary: Summary, prepared: Prepared) -> None:
    tell(
        f"{counted(summary.trained, 'cell')} trained, {summary.already_done} already done, "
        f"{len(summary.failed)} failed"
    )
    if summary.saved_seconds >= 1:
        share = 100 * summary.saved_seconds / max(summary.alone_seconds, summary.saved_seconds)
        tell(
            f"sharing the teachers' forward passes saved {duration(summary.saved_seconds)}, "
            f"{share:.0f} % of the time that training each cell alone takes"
        )
    for label, reason in summary.failed.items():
        tell(f"failed: {label}: {reason}")
    for name, reason in prepared.not_applicable.items():
        tell(f"not applicable: {name}: {reason}")
