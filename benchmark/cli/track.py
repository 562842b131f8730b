"""`sync`, `status`, `show`, `compare` and `ui`: inspect journals and their runs in MLflow."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    RunName,
    StudyName,
    TrackingUri,
    loaded_study,
    mlflow_store,
    study_folder,
    workspace_of,
)
from benchmark.cli.screen import print_line, print_wide, say
from benchmark.errors import TrackingError
from benchmark.records.layout import Workspace
from benchmark.wording import counted


def sync(
    context: typer.Context,
    study: StudyName,
    tracking_uri: TrackingUri = None,
    follow: Annotated[
        bool, typer.Option(hidden=True, help="Continue until standard input ends.")
    ] = False,
    system_metrics: Annotated[
        bool, typer.Option("--system-metrics", hidden=True, help="Sample the machine's load.")
    ] = False,
) -> None:
    """Write a study's journals to MLflow. Safe to repeat at any time."""
    from benchmark.redact import shown
    from benchmark.tracking import sync as tracking_sync
    from benchmark.tracking.system_metrics import SystemMonitor

    store = mlflow_store(context, loaded_study(study), tracking_uri)
    if follow:
        # A terminal sends its signals to every process; this one stops when its parent does.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

        input_ended = threading.Event()
        threading.Thread(target=_read_input, args=(input_ended,), daemon=True).start()
        folder = workspace_of(context) / study
        observe = SystemMonitor(folder, store) if system_metrics else lambda: None
        complete = tracking_sync.follow(
            folder, store, input_ended.is_set, warn=say, observe=observe, pause=input_ended.wait
        )
        raise SystemExit(0 if complete else 3)

    counts = tracking_sync.sync(study_folder(context, study).path, store)
    print_line(
        f"{counted(counts.created, 'run')} added, {counts.updated} updated, "
        f"{counts.unchanged} unchanged in {shown(store.uri)}"
    )


def status(context: typer.Context, study: StudyName) -> None:
    """Show the progress of a study, from its journals.

    For a file, it shows all cells that the file asks for now; for a name, those of the last run.
    """
    from benchmark.cli import file_status
    from benchmark.cli import status as journals

    loaded = loaded_study(study)
    if loaded is None:
        print_wide(journals.progress_of(study_folder(context, study)))
    else:
        workspace = Workspace(workspace_of(context))
        print_wide(file_status.progress_of_file(loaded, Path(study), workspace))


def show(context: typer.Context, run: RunName, tracking_uri: TrackingUri = None) -> None:
    """Show a run in MLflow: settings, results, accuracy curve and address."""
    from benchmark.cli import show as runs

    store = mlflow_store(context, None, tracking_uri)
    (recorded,) = runs.find([run], store)
    print_wide(runs.show(recorded, store))


def compare(
    context: typer.Context,
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Two or more runs, as for `show`.")
    ],
    tracking_uri: TrackingUri = None,
) -> None:
    """Show the settings and results in which runs differ, their curves and addresses."""
    from benchmark.cli import show as recorded

    if len(runs) < 2:
        raise typer.BadParameter("expected two or more runs", param_hint="RUN")

    store = mlflow_store(context, None, tracking_uri)
    print_wide(recorded.compare(recorded.find(runs, store), store))


def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """Serve MLflow's web UI for this workspace on 127.0.0.1 until Ctrl+C."""
    from benchmark.tracking import report_run, server

    store = mlflow_store(context, None, tracking_uri)
    if store.database is None:
        addresses = report_run.addresses(store.uri, store)
        print_line("the MLflow server is already running")
        _print_addresses(addresses)
        return

    for number in (signal.SIGINT, signal.SIGTERM):  # the normal way to stop: nothing to resume
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    process = server.serve(store, port=port)
    try:
        _print_addresses(report_run.addresses(f"http://127.0.0.1:{port}", store))
        print_line("press Ctrl+C to stop the server")
        code = process.wait()
        remedy = "run the command again"
        raise TrackingError(f"the MLflow server exited unexpectedly (code {code}); {remedy}")
    finally:
        server.end(process)


def _print_addresses(addresses: Mapping[str, Mapping[str, str]]) -> None:
    """Print the page addresses of each study and search."""
    for name, pages in addresses.items():
        if len(pages) == 1:
            (address,) = pages.values()
            print_line(f"{name}: {address}")
            continue

        print_line(name)
        for title, address in pages.items():
            print_line(f"  {title:<11} {address}")


def _read_input(ended: threading.Event) -> None:
    """Wait until standard input ends."""
    sys.stdin.read()
    ended.set()
