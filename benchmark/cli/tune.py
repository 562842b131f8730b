"""`tune`: searches for the settings of every method, or serves optuna-dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

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
from benchmark.cli.tables import table
from benchmark.errors import InputError
from benchmark.execution.executors import CHECKPOINT_MINUTES, STEP_MINUTES
from benchmark.records.layout import Workspace
from benchmark.training.engine_choice import EngineChoice

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared
    from benchmark.search.tune import Outcome
    from benchmark.study.schema import TunedSettings


def tune(
    context: typer.Context,
    study: StudyFile,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="KDBENCH_STORAGE",
            show_envvar=True,
            metavar="URL",
            help=(
                "Optuna's database, e.g. postgresql+psycopg2://user@host/name; by default, a file "
                "in the workspace."
            ),
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record the trials in MLflow.")
    ] = True,
    cohort_size: CohortSize = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print trials, cohorts and cost; train nothing.")
    ] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve optuna-dashboard instead of searching.")
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
    """Search for every method's best settings, with the same number of trials for each.

    Trials are compared on validation data alone.
    """
    from benchmark.execution import cell_code, environment, machine, prepare
    from benchmark.execution.session import Session
    from benchmark.search import tune as search
    from benchmark.search import tuned
    from benchmark.search.database import default_storage
    from benchmark.tracking.sync_search import recorder

    workspace = Workspace(workspace_of(context))
    loaded = load_study(study)
    folder = workspace.study(loaded.name).search
    if dashboard:
        own = None if storage else folder.database
        _dashboard(storage or default_storage(folder), own)
        return

    store = mlflow_store(context, loaded, tracking_uri) if track else None
    with opened_executor(executor, workers, needed=not dry_run) as opened:
        chosen = environment.device(device)
        environment.check_engine(engine, chosen)
        machine.use_threads(threads, chosen, opened.workers)
        prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
        if dry_run:
            _print_plan(prepared, str(study), workspace, cohort_size, opened.workers)
            return

        environment.make_repeatable()
        with progress_display() as progress:
            record = recorder(store, progress.warn)
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
                engine,
            )
            outcome = search.tune(prepared, session, storage, cohort_size, record)
            record(folder.path)

    if outcome.best:
        file = tuned.settings_file(study)
        tuned.write(file, loaded, outcome.best)
        print_wide(summary(outcome))
        tell(f"wrote {file}; `kdbench run {study} --settings tuned` compares these settings")
    if store is not None:
        tell("`kdbench ui` opens the trials in MLflow")
    for name, reason in prepared.not_applicable.items():
        tell(f"not applicable: {name}: {reason}")
    for label in outcome.failed:
        tell(f"failed: {label}: no trial was completed; see the journals in {folder.cells}")
    if outcome.failed:
        raise SystemExit(1)


def _print_plan(
    prepared: Prepared, source: str, workspace: Workspace, cohort_size: int | None, workers: int
) -> None:
    from benchmark.cli import tune_plan

    print_wide(tune_plan.plan(prepared, source, workspace, cohort_size, say, workers))


def summary(outcome: Outcome) -> RenderableType:
    """Return a table of searches, and the compute saved by sharing the teacher's forward passes."""
    rows = []
    for best in outcome.best:
        settings = [f"{name} {value:.4g}" for name, value in _numbers(best.settings)]
        trial = f"{best.number} of {best.trials}" if best.number else "as published"
        published = "" if best.published is None else f"{best.published:.2f}"
        value, compute = f"{best.value:.2f}", f"{best.compute_tmac:.2f}"
        rows.append([best.pair, best.row, published, value, trial, compute, ", ".join(settings)])

    headers = ["pair", "method", "published", "best", "best trial", "TMAC", "settings"]
    ratio = outcome.alone / max(outcome.tmac, 1e-12)
    saved = (
        f"{outcome.tmac:.2f} TMAC in cohorts; training separately would take {outcome.alone:.2f}, "
        f"{ratio:.2f} times as much"
    )
    return Group(table("", headers, rows), Text(), Text(saved))


def _numbers(settings: TunedSettings) -> Iterator[tuple[str, float]]:
    """Yield the numeric settings by flattened name."""

    def walk(name: str, value: object) -> Iterator[tuple[str, float]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(f"{name}.{key}" if name else key, inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)

    content = settings.model_dump(exclude_none=True)
    yield from walk("", content.pop("settings"))
    yield from walk("", content)


def _dashboard(storage: str, own: Path | None) -> None:
    """Serve optuna-dashboard on this machine until it is stopped."""
    from benchmark.redact import shown
    from benchmark.search.database import open_storage

    if find_spec("optuna_dashboard") is None:
        remedy = "run `pip install optuna-dashboard`"
        raise InputError(f"--dashboard: the package optuna-dashboard is not installed; {remedy}")
    opened = open_storage(storage, own)

    from optuna_dashboard import run_server

    tell(f"http://127.0.0.1:8080/ shows {shown(storage)}; press Ctrl+C to stop")
    run_server(opened, host="127.0.0.1", port=8080)
