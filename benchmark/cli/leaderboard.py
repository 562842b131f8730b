"""`leaderboard` and `gallery`: what was found, printed, as files, and in MLflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import StudyName, TrackingUri, study_experiment
from benchmark.cli.screen import messages, output
from benchmark.errors import InputError, first_line

if TYPE_CHECKING:
    from benchmark.tracking.store import Store


def leaderboard(
    study: StudyName,
    results: Annotated[
        Path, typer.Option(help="Folder that gets a folder with the study's tables.")
    ] = Path("results"),
    mix_environments: Annotated[
        bool,
        typer.Option(
            "--mix-environments",
            help="Compare runs of other devices or versions too, and mark them.",
        ),
    ] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Print a study's table, from its MLflow runs alone; write it as CSV, Markdown, HTML, LaTeX and pictures."""
    from benchmark.report import publish
    from benchmark.report.figures import curves
    from benchmark.tracking import runs as tracking_runs

    experiment, where = study_experiment(study, tracking_uri)
    board, costs, plan, provenance = print_leaderboard(experiment, where, mix_environments)
    histories = tracking_runs.histories(experiment, where, "val/acc1", curves.named(board, plan))
    files = publish.write(board, costs, plan, results / plan.study, provenance, histories)
    for path in files:
        messages.print(f"wrote {path}", soft_wrap=True)
    publish_leaderboard(experiment, where, board, costs, plan, provenance, files)


def gallery(
    results: Annotated[Path, typer.Option(help="Folder with a folder of tables per study.")] = Path(
        "results"
    ),
    studies: Annotated[Path, typer.Option(help="Folder with the study files.")] = Path("studies"),
) -> None:
    """Write the front page of all results there are, README.md and index.html, from files alone."""
    from benchmark.report import gallery as report_gallery

    if not studies.is_dir():
        raise InputError(f"--studies: {studies}: no such folder; give the one with the study files")
    between = Path(os.path.relpath(studies.absolute(), results.absolute())).as_posix()
    for path in report_gallery.write(results, studies, between):
        messages.print(f"wrote {path}", soft_wrap=True)


def print_leaderboard(
    experiment: str, store: Store, mix_environments: bool = False
) -> tuple[Any, Any, Any, list[str]]:
    """Prints the table of an experiment; returns table, costs, plan and provenance."""
    from benchmark.leaderboard import table
    from benchmark.leaderboard.provenance import provenance
    from benchmark.report import terminal
    from benchmark.tracking import runs as tracking_runs

    plan = tracking_runs.plan(experiment, store)
    runs = tracking_runs.runs(experiment, store)
    try:
        board, costs = table.leaderboard(runs, plan, mix_environments), table.costs(runs, plan)
    except ValueError as error:
        raise InputError(f"experiment {experiment}: {error}") from error
    terminal.to_console(board, costs, plan, output)
    return board, costs, plan, provenance(runs)


def publish_leaderboard(
    experiment: str,
    store: Store,
    board: Any,
    costs: Any,
    plan: Any,
    provenance: list[str],
    files: list[Path] | None,
) -> None:
    """Puts a leaderboard into MLflow: files, description, views. What fails is a warning.

    files: the leaderboard's; None where they have not been written.
    """
    import tempfile

    from benchmark.report import markdown, publish
    from benchmark.report.figures import curves
    from benchmark.tracking import report_run, tags
    from benchmark.tracking import runs as tracking_runs

    def warn(text: str) -> None:
        messages.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)

    try:
        note = markdown.to_note(board, plan, tags.LONGEST_TAG)
        with tempfile.TemporaryDirectory() as folder:
            if files is None:
                histories = tracking_runs.histories(
                    experiment, store, "val/acc1", curves.named(board, plan)
                )
                files = publish.write(board, costs, plan, Path(folder), provenance, histories)
            report_run.publish(experiment, store, plan, note, files, warn)
    except Exception as error:
        warn(f"{experiment}: its report in MLflow could not be written ({first_line(error)})")
