"""`forget`: sets cells of a study aside, so that the next run trains them again."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import StudyName, study_folder
from benchmark.cli.screen import print_line, tell
from benchmark.cli.tables import counted


def forget(
    context: typer.Context,
    study: StudyName,
    row: Annotated[str | None, typer.Option(help="Only this row of the leaderboard.")] = None,
    pair: Annotated[str | None, typer.Option(help="Only this teacher-student pair.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
) -> None:
    """Set cells aside, so that the next run trains them again. Nothing is deleted."""
    from benchmark.execution import forget as forgetting

    folder = study_folder(context, study)
    cells = forgetting.forget(folder, row, pair, seed)

    for cell in cells:
        print_line(f"{cell.pair} / {cell.row} / seed {cell.seed}")
    tell(f"{counted(len(cells), 'cell')} set aside in {folder.forgotten}")
    if cells:
        tell(f"`kdbench run` trains them again; `kdbench sync {study}` retires their MLflow runs")
