"""The command line: its commands in their order, and how one ends that cannot go on.

Heavy packages are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import leaderboard, listing, run, track, tune
from benchmark.cli.options import options
from benchmark.cli.teachers import keepers
from benchmark.errors import InputError, TrackingError, first_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="kdbench: compare knowledge-distillation methods fairly, and keep every number.",
)


@app.callback()
def before(
    workspace: Annotated[
        Path,
        typer.Option(
            envvar="KDBENCH_WORKSPACE",
            help="Folder for journals, teachers and the local MLflow store.",
        ),
    ] = Path("runs"),
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Options for all commands."""
    if workspace.exists() and not workspace.is_dir():
        raise InputError(f"{workspace}: not a folder; choose another --workspace")
    options.workspace, options.debug = workspace.absolute(), debug


COMMANDS: tuple[Callable[..., None], ...] = (
    run.run,
    tune.tune,
    leaderboard.leaderboard,
    leaderboard.gallery,
    listing.methods,
    listing.models,
    track.sync,
    track.status,
    track.show,
    track.compare,
    track.ui,
)
"""The commands in the order of `kdbench --help`, before those of teachers."""

for command in COMMANDS:
    app.command()(command)

app.add_typer(keepers, name="teachers")


def _stop(number: int, _: object) -> None:
    print("kdbench: stopped; the same command goes on from here", file=sys.stderr)
    raise SystemExit(128 + number)


def main() -> None:
    """Runs the command line; every expected error is one line and a code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal may know fewer letters than a table has
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        raise SystemExit(app(standalone_mode=False))
    except Exception as error:
        if options.debug:
            raise
        for line in _lines(error):
            print(f"kdbench: {line}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) or _is_usage(error) else 1) from None


def _is_usage(error: Exception) -> bool:
    """Whether the command line itself was wrong. Typer's own class for it is private."""
    return hasattr(error, "format_message")


def _lines(error: Exception) -> list[str]:
    if isinstance(error, InputError | TrackingError):
        return str(error).splitlines()
    if _is_usage(error):
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return [f"{message}; `kdbench --help` shows what there is"] if message else []
    return [f"{type(error).__name__}: {first_line(error)}; `kdbench --debug ...` shows where"]
