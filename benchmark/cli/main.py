"""The command line: its commands in order, and its error handling.

Heavy packages are imported inside the commands, so that `--help` is fast.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmark import __version__
from benchmark.cli import (
    forget,
    leaderboard,
    listing,
    rehearse,
    run,
    signals,
    track,
    transfer,
    tune,
    verify,
)
from benchmark.cli.options import Options
from benchmark.cli.teachers import teachers
from benchmark.errors import InputError, Stopped, TrackingError, explained, first_line
from benchmark.plugins import loading
from benchmark.plugins.loading import Plugin
from benchmark.printable import print_message, printable
from benchmark.redact import shown

HELP = "`kdbench --help` lists commands and options"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="kdbench: compare knowledge-distillation methods fairly, and keep every number.",
)

COMMANDS: tuple[Callable[..., None], ...] = (
    run.run,
    rehearse.rehearse,
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
    verify.verify,
    forget.forget,
    transfer.export,
    transfer.import_,
)
"""The commands in the order of `kdbench --help`, before those of teachers."""

for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(teachers, name="teachers")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"kdbench {__version__}")
        raise typer.Exit


@app.callback()
def set_options(
    context: typer.Context,
    workspace: Annotated[
        Path,
        typer.Option(
            envvar="KDBENCH_WORKSPACE",
            help="Folder for journals, teachers and the local MLflow store.",
        ),
    ] = Path("runs"),
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE.py|MODULE",
            help="A plug-in with your own methods, models, data or metrics; may be repeated.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Store the options given before the command, and load plug-ins."""
    if workspace.exists() and not workspace.is_dir():
        raise InputError(f"{workspace}: not a folder; choose another --workspace")

    options: Options = context.obj
    options.workspace = workspace.absolute()
    options.debug = debug
    for reference in plugin or ():
        loading.load(Plugin(reference, Path()), "--plugin")


MOST_LINES = 30
"""Maximum number of mistakes that are printed."""


def main() -> None:
    """Run the command line.

    An error is printed on standard error, without its traceback unless `--debug` is given. Exit
    codes: 1 for a failure, 2 for wrong input, 128 + N after signal N.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have characters that a terminal may lack
            stream.reconfigure(errors="replace")
    sys.excepthook = _print_traceback
    signals.listen()

    options = Options()
    try:
        raise SystemExit(app(obj=options, standalone_mode=False))
    except Stopped as stopped:
        # Everything is recorded. Taking PyTorch's modules apart would take seconds.
        signals.exit_without_teardown(int(stopped.code or 0))
    except Exception as error:
        if options.debug:
            raise
        lines = _lines(error)
        for line in lines[:MOST_LINES]:
            print_message(f"kdbench: {line}")
        if len(lines) > MOST_LINES:
            print_message(f"kdbench: and {len(lines) - MOST_LINES} more mistakes")
        raise SystemExit(2 if isinstance(error, InputError) or _is_usage(error) else 1) from None


def _print_traceback(_: object, error: BaseException, __: object) -> None:
    """Print where an error comes from, without passwords."""
    for line in shown("".join(traceback.format_exception(error))).splitlines():
        print_message(line)


def _is_usage(error: Exception) -> bool:
    """Return whether the command line itself is wrong. Typer's class for such errors is private."""
    return hasattr(error, "format_message")


def _lines(error: Exception) -> list[str]:
    if isinstance(error, InputError | TrackingError):
        return str(error).splitlines()
    if _is_usage(error):
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return [f"{printable(message)}; {HELP}"] if message else []
    if isinstance(error, OSError):
        return [f"{explained(error)}; `kdbench --debug ...` shows where"]
    return [f"{type(error).__name__}: {first_line(error)}; `kdbench --debug ...` shows where"]
