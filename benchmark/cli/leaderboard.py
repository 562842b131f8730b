"""`leaderboard` and `gallery`: results on the screen, as files, and in MLflow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import StudyName, TrackingUri, study_experiment
from benchmark.cli.screen import output, tell, warn
from benchmark.errors import InputError, first_line
from benchmark.files import write_atomically
from benchmark.wording import listed

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.report.columns import Column
    from benchmark.study.plan import Plan
    from benchmark.tracking.store import Store


@dataclass(frozen=True)
class Tables:
    """The tables of an experiment.

    Attributes:
        experiment: Its name in MLflow.
        store: The MLflow store that contains it.
        board: The leaderboard.
        costs: Costs of the same rows.
        plan: What the study set out to compare.
        provenance: Where the networks were trained, one line per environment.
    """

    experiment: str
    store: Store
    board: pd.DataFrame
    costs: pd.DataFrame
    plan: Plan
    provenance: list[str]


def leaderboard(
    context: typer.Context,
    study: StudyName,
    results: Annotated[
        Path, typer.Option(help="Folder for results; each study has a subfolder in it.")
    ] = Path("results"),
    mix_environments: Annotated[
        bool,
        typer.Option(
            "--mix-environments", help="Include runs of other devices or versions, and mark them."
        ),
    ] = False,
    latex_columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help=(
                "Also write paper.tex, methods x pairs with these columns of leaderboard.csv, "
                "e.g. acc1,vs_student."
            ),
        ),
    ] = None,
    decimals: Annotated[
        int | None,
        typer.Option(min=0, max=4, help="Decimals in paper.tex; 1 by default. Also writes it."),
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Print a study's leaderboard, made from its MLflow runs alone, and write its files."""
    experiment, store = study_experiment(context, study, tracking_uri)
    tables = make_tables(experiment, store, mix_environments)
    columns = _paper_columns(latex_columns, decimals, tables.plan)
    print_tables(tables)

    folder = results / tables.plan.study
    files = _write(tables, folder)
    _tell_omitted(tables)
    if columns:
        files.append(_write_paper(tables, folder, columns))
    for path in files:
        tell(f"wrote {path}")
    publish_leaderboard(tables, files)


def gallery(
    results: Annotated[
        Path, typer.Option(help="Folder with a subfolder of tables per study.")
    ] = Path("results"),
    studies: Annotated[Path, typer.Option(help="Folder of the study files.")] = Path("studies"),
) -> None:
    """Write the front page of all results, README.md and index.html, from the files alone."""
    from benchmark.report.gallery import write

    if not studies.is_dir():
        raise InputError(f"--studies: {studies}: no such folder; give the folder of study files")

    relative = os.path.relpath(studies.absolute(), results.absolute())
    for path in write(results, studies, Path(relative).as_posix()):
        tell(f"wrote {path}")


def print_leaderboard(experiment: str, store: Store, mix_environments: bool = False) -> Tables:
    """Print the tables of an experiment, and return them.

    Raises:
        InputError: The store has no such experiment, or its runs cannot form a table.
        TrackingError: The store cannot be reached.
    """
    tables = make_tables(experiment, store, mix_environments)
    print_tables(tables)
    return tables


def print_tables(tables: Tables) -> None:
    """Print tables as far as the width of the terminal allows."""
    from benchmark.report.terminal import to_console

    to_console(tables.board, tables.costs, tables.plan, output)


def make_tables(experiment: str, store: Store, mix_environments: bool = False) -> Tables:
    """Return the tables of an experiment.

    Raises:
        InputError: The store has no such experiment, or its runs cannot form a table.
        TrackingError: The store cannot be reached.
    """
    from benchmark.leaderboard import table
    from benchmark.leaderboard.provenance import provenance
    from benchmark.tracking import runs as tracking_runs

    plan = tracking_runs.plan(experiment, store)
    runs = tracking_runs.runs(experiment, store)
    try:
        board = table.leaderboard(runs, plan, mix_environments)
        costs = table.costs(runs, plan)
    except ValueError as error:
        raise InputError(f"experiment {experiment}: {error}") from error

    return Tables(experiment, store, board, costs, plan, provenance(runs))


def publish_leaderboard(tables: Tables, files: Sequence[Path] | None = None) -> None:
    """Publish a leaderboard in MLflow: its files, a description, and saved views.

    A failure only causes a warning, because no result depends on it.

    Args:
        tables: The tables.
        files: The leaderboard's files; if None, they are written to a temporary folder.
    """
    from benchmark.report.markdown import to_note
    from benchmark.tracking.report_run import publish
    from benchmark.tracking.tags import LONGEST_NOTE

    try:
        note = to_note(tables.board, tables.plan, LONGEST_NOTE)
        with tempfile.TemporaryDirectory() as folder:
            written = files or _write(tables, Path(folder))
            publish(tables.experiment, tables.store, tables.plan, note, written, warn)
    except Exception as error:
        reason = first_line(error)
        warn(f"{tables.experiment}: its report in MLflow could not be written ({reason})")


def _paper_columns(names: str | None, decimals: int | None, plan: Plan) -> list[Column]:
    """Return the columns of `paper.tex`; none if no option asks for it."""
    from benchmark.report.paper import DECIMALS, choose_columns

    if names is None and decimals is None:
        return []

    chosen = ["acc1"] if names is None else [name.strip() for name in names.split(",")]
    return choose_columns(chosen, plan, DECIMALS if decimals is None else decimals)


def _write_paper(tables: Tables, folder: Path, columns: Sequence[Column]) -> Path:
    from benchmark.report.paper import FILE, paper

    written = paper(tables.board, tables.plan, columns)
    for remark in written.remarks:
        warn(f"{FILE}: {remark}")
    path = folder / FILE
    write_atomically(path, written.text.encode())
    return path


def _tell_omitted(tables: Tables) -> None:
    """Tell which columns don't fit a page of leaderboard.tex."""
    from benchmark.report.latex import omitted_columns

    pairs_of: dict[str, list[str]] = {}
    for title, columns in omitted_columns(tables.board, tables.plan).items():
        pairs_of.setdefault("; ".join(columns), []).append(title)
    for titles, pairs in pairs_of.items():
        tell(
            f"leaderboard.tex has no room for {titles} ({listed(pairs)}); --latex-columns chooses "
            "the columns of paper.tex"
        )


def _write(tables: Tables, folder: Path) -> list[Path]:
    """Write all files of a leaderboard."""
    from benchmark.report import files
    from benchmark.report.figures import curves
    from benchmark.tracking.runs import histories

    rows = curves.labelled_rows(tables.board, tables.plan)
    accuracies = histories(tables.experiment, tables.store, "val/acc1", rows)
    return files.write(
        tables.board, tables.costs, tables.plan, folder, tables.provenance, accuracies
    )
