"""`tune`: searches settings, or shows a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cli.options import CohortSize, Device, StudyFile, TrackingUri, mlflow_store, options
from benchmark.cli.screen import messages, print_wide, progress_display, say
from benchmark.cli.tables import table
from benchmark.errors import InputError, TrackingError
from benchmark.records.layout import Workspace

if TYPE_CHECKING:
    from benchmark.search.tune import Outcome
    from benchmark.study.schema import Found
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
    from benchmark.execution import environment, prepare
    from benchmark.execution.session import Session
    from benchmark.search import tune as search_tune
    from benchmark.search import tuned
    from benchmark.search.database import default_storage
    from benchmark.study.study import load

    loaded, workspace = load(study), Workspace(options.workspace)
    folder = workspace.study(loaded.name).search
    if dashboard:
        _dashboard(storage or default_storage(folder))
        return
    where = mlflow_store(loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
    environment.make_repeatable()
    with progress_display() as progress:
        session = Session(workspace, str(study), chosen, environment.environment(chosen), progress)
        on_round = _recorder(where, progress)
        outcome = search_tune.tune(prepared, session, storage, cohort_size, on_round)
        on_round(folder.path)
    if outcome.best:
        file = tuned.settings_file(study)
        tuned.write(file, loaded, outcome.best)
        print_wide(_summary(outcome))
        messages.print(
            f"wrote {file}; `kdbench run {study} --settings tuned` compares",
            soft_wrap=True,
        )
    if where is not None:
        messages.print("`kdbench ui` opens the trials in MLflow", soft_wrap=True)
    for name, reason in prepared.not_applicable.items():
        messages.print(f"not applicable: {name}: {reason}", markup=False, soft_wrap=True)
    for label in outcome.failed:
        messages.print(
            f"failed: {label}: no trial is complete; see the journals in {folder.cells}",
            markup=False,
            soft_wrap=True,
        )
    if outcome.failed:
        raise SystemExit(1)


def _recorder(where: Store | None, progress: Progress) -> Callable[[Path], None]:
    """What puts the records of a search into MLflow; a store that refuses is a warning, and the next time comes."""

    def on_round(folder: Path) -> None:
        from benchmark.tracking.sync_search import sync_search

        if where is not None:
            try:
                sync_search(folder, where, warn=progress.warn)
            except TrackingError as error:
                progress.warn(f"not in MLflow yet: {error}; `kdbench tune` again brings it there")

    return on_round


def _summary(outcome: Outcome) -> RenderableType:
    """A line for the best trial of each search, and what sharing the teacher's passes saved."""
    rows = [
        [
            best.pair,
            best.row,
            "" if best.published is None else f"{best.published:.2f}",
            f"{best.value:.2f}",
            f"trial {best.number} of {best.trials}" if best.number else "as published",
            f"{best.compute_tmac:.2f}",
            ", ".join(f"{name} {value:.4g}" for name, value in _numbers(best.found)),
        ]
        for best in outcome.best
    ]
    headers = ["pair", "method", "published", "best", "where", "TMAC", "settings"]
    ratio = outcome.alone / max(outcome.tmac, 1e-12)
    saved = (
        f"{outcome.tmac:.2f} TMAC in cohorts; {outcome.alone:.2f} as separate trainings, "
        f"{ratio:.2f} times as much"
    )
    return Group(table("", headers, rows), Text(), Text(saved))


def _numbers(found: Found) -> Iterator[tuple[str, float]]:
    """The numbers among settings, with flat names."""
    settings = found.model_dump(exclude_none=True)
    for name, value in {**settings.pop("settings"), **settings}.items():
        parts = value if isinstance(value, dict) else {"": value}
        for part, number in parts.items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield f"{name}.{part}" if part else name, float(number)


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
