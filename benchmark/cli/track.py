"""`sync`, `status`, `show`, `compare` and `ui`: from journals to MLflow, and what is in both."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from typing import Annotated

import typer

from benchmark.cli.options import (
    RunName,
    StudyName,
    TrackingUri,
    loaded_study,
    mlflow_store,
    options,
    study_folder,
)
from benchmark.cli.screen import output, print_wide, say
from benchmark.errors import TrackingError


def sync(
    study: StudyName,
    tracking_uri: TrackingUri = None,
    follow: Annotated[
        bool, typer.Option(hidden=True, help="Go on until standard input ends.")
    ] = False,
) -> None:
    """Bring a study's journals into MLflow; at any time, as often as you like."""
    from benchmark import redact
    from benchmark.tracking import sync as tracking_sync

    where = mlflow_store(loaded_study(study), tracking_uri)
    if follow:
        for each in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # whoever stops all processes; the parent's end is this one's
            signal.signal(each, signal.SIG_IGN)
        threading.Thread(target=_read_all, args=(ended := threading.Event(),), daemon=True).start()
        raise SystemExit(
            0
            if tracking_sync.follow(options.workspace / study, where, ended.is_set, warn=say)
            else 3
        )
    found = tracking_sync.sync(study_folder(study), where)
    output.print(
        f"{found.created} runs added, {found.updated} updated, {found.unchanged} unchanged "
        f"in {redact.shown(where.uri)}",
        soft_wrap=True,
    )


def status(study: StudyName) -> None:
    """Show how far a study is, from its journals."""
    from benchmark.cli import status as cli_status

    print_wide(cli_status.state(study_folder(study)))


def show(run: RunName, tracking_uri: TrackingUri = None) -> None:
    """Show a run in MLflow: settings, results, the curve of its validation accuracy, and its address."""
    from benchmark.cli import show as cli_show

    where = mlflow_store(None, tracking_uri)
    (found,) = cli_show.find([run], where)
    print_wide(cli_show.show(found, where))


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Two runs or more, as in `show`.")
    ],
    tracking_uri: TrackingUri = None,
) -> None:
    """Show in which settings and results runs differ, their curves, and their addresses."""
    from benchmark.cli import show as cli_show

    if len(runs) < 2:
        raise typer.BadParameter("give two runs or more", param_hint="RUN")
    where = mlflow_store(None, tracking_uri)
    print_wide(cli_show.compare(cli_show.find(runs, where), where))


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """Start MLflow's page on this workspace's runs, on 127.0.0.1, until Ctrl+C."""
    from benchmark.tracking import report_run, server, store

    where = store.open_store(options.workspace, tracking_uri)
    base = f"http://127.0.0.1:{port}"
    if where.database is None:
        found = report_run.addresses(where.uri, where)
        output.print("this server is running already")
        _print_addresses(found)
        return
    for each in (signal.SIGINT, signal.SIGTERM):  # the way to end it, and nothing goes on later
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    process = server.serve(where, port=port)
    try:
        _print_addresses(report_run.addresses(base, where))
        output.print("Ctrl+C stops the server")
        raise TrackingError(
            f"MLflow's server ended by itself (code {process.wait()}); start it again"
        )
    finally:
        server.end(process)


def _print_addresses(addresses: Mapping[str, Mapping[str, str]]) -> None:
    """Where a browser finds each study's leaderboard, runs and curves, and each search."""
    for name, found in addresses.items():
        if len(found) == 1:
            output.print(f"{name}: {next(iter(found.values()))}", markup=False, soft_wrap=True)
            continue
        output.print(name, markup=False, soft_wrap=True)
        for what, address in found.items():
            output.print(f"  {what:<11} {address}", markup=False, soft_wrap=True)


def _read_all(ended: threading.Event) -> None:
    """Waits for the end of standard input."""
    sys.stdin.read()
    ended.set()
