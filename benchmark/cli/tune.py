"""`tune`: searches settings, or shows a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import CohortSize, Device, StudyFile, TrackingUri, mlflow_store, options
from benchmark.cli.screen import messages, print_wide, progress_display, say
from benchmark.errors import InputError, TrackingError

if TYPE_CHECKING:
    from benchmark.tracking.store import Store
    from benchmark.training.progress import Progress


def tune(
    study: StudyFile,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="KDBENCH_STORAGE",
            show_envvar=True,
            metavar="URL",
            help="Optuna's database, such as postgresql+psycopg2://user@host/name; by default a file of the study's.",
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record the trials in MLflow.")
    ] = True,
    cohort_size: CohortSize = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start optuna-dashboard, and search nothing.")
    ] = False,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Search the settings of every method of a study, with the same number of trials each, on validation images."""
    import methods
    from benchmark.execution import environment, prepare
    from benchmark.search import tune as search_tune
    from benchmark.search import tuned
    from benchmark.search.database import default_storage
    from benchmark.study.study import load

    loaded, folder = load(study, methods), options.workspace
    if dashboard:
        _dashboard(storage or default_storage(folder / loaded.name / "search"))
        return
    where = mlflow_store(loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, folder, say)
    environment.make_repeatable()
    known = environment.environment(chosen)
    with progress_display() as progress:
        told = _recorder(where, progress)
        outcome = search_tune.tune(
            prepared, folder, str(study), known, progress, storage, cohort_size, told
        )
        told(folder / loaded.name / "search")
    if outcome.best:
        tuned.write(tuned.place(study), loaded, outcome.best)
        print_wide(tuned.summary(outcome))
        messages.print(
            f"wrote {tuned.place(study)}; `kdbench run {study} --settings tuned` compares",
            soft_wrap=True,
        )
    if where is not None:
        messages.print("`kdbench ui` opens the trials in MLflow", soft_wrap=True)
    for name, reason in prepared.not_applicable.items():
        messages.print(f"not applicable: {name}: {reason}", markup=False, soft_wrap=True)
    for label in outcome.failed:
        journals = folder / loaded.name / "search" / "cells"
        messages.print(
            f"failed: {label}: no trial is complete; see the journals in {journals}",
            markup=False,
            soft_wrap=True,
        )
    if outcome.failed:
        raise SystemExit(1)


def _recorder(where: Store | None, progress: Progress) -> Callable[[Path], None]:
    """What puts the records of a search into MLflow; a store that refuses is a warning, and the next time comes."""

    def told(folder: Path) -> None:
        from benchmark.tracking.sync_search import sync_search

        if where is not None:
            try:
                sync_search(folder, where, warn=progress.warn)
            except TrackingError as error:
                progress.warn(f"not in MLflow yet: {error}; `kdbench tune` again brings it there")

    return told


def _dashboard(storage: str) -> None:
    """Serves optuna-dashboard on this machine alone, until it is stopped."""
    from importlib.util import find_spec

    from benchmark.redact import shown
    from benchmark.search.database import open_storage

    if find_spec("optuna_dashboard") is None:
        raise InputError(
            "--dashboard: needs the package optuna-dashboard; pip install 'kdbench[dashboard]'"
        )
    opened = open_storage(storage)
    from optuna_dashboard import run_server

    messages.print(
        f"http://127.0.0.1:8080/ shows {shown(storage)}; Ctrl+C stops it", soft_wrap=True
    )
    run_server(opened, host="127.0.0.1", port=8080)
