"""`verify`: checks a study on disk and in MLflow."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import (
    StudyName,
    TrackingUri,
    loaded_study,
    mlflow_store,
    study_folder,
    workspace_of,
)
from benchmark.cli.screen import print_line, tell
from benchmark.records.layout import Workspace
from benchmark.wording import counted


def verify(
    context: typer.Context,
    study: StudyName,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Compare runs in MLflow with the journals.")
    ] = True,
    tracking_uri: TrackingUri = None,
) -> None:
    """Check every file of a study, and its runs in MLflow; exit code 1 if anything is wrong."""
    from benchmark.execution.verification import verify_files

    folder = study_folder(context, study)
    verified = verify_files(folder, Workspace(workspace_of(context)))
    for finding in verified.findings:
        print_line(finding)

    tell(f"checked {counted(verified.cells, 'cell')} and {counted(verified.teachers, 'teacher')}")
    if verified.unchained:
        tell(
            f"not chained: {counted(verified.unchained, 'journal')} of an earlier version; the "
            "loss of their last records may go unnoticed"
        )

    wrong = len(verified.findings)
    if track and not verified.plan:
        tell("not compared with MLflow: the plan is damaged")
    elif track:
        wrong += _compare_with_mlflow(context, study, tracking_uri)
    tell(counted(wrong, "finding") if wrong else "everything is as it was written")
    if wrong:
        raise SystemExit(1)


def _compare_with_mlflow(context: typer.Context, study: str, uri: str | None) -> int:
    """Print how runs in MLflow differ from the journals, and return the number of differences."""
    from benchmark.tracking.verification import compare_with_mlflow

    store = mlflow_store(context, loaded_study(study), uri)
    folder = study_folder(context, study)
    compared = compare_with_mlflow(folder, store)

    sync = f"`kdbench sync {folder.path.name}`"
    for difference in compared.differences:
        remedy = f"delete this run in MLflow, and {sync} writes it again"
        print_line(f"{difference.text}; {f'{sync} corrects it' if difference.synced else remedy}")

    tell(f"compared {counted(compared.runs, 'run')} in MLflow with the journals")
    if compared.behind:
        tell(
            f"not completely in MLflow: {counted(compared.behind, 'journal')}; {sync} adds the rest"
        )
    if compared.unplanned:
        runs = counted(compared.unplanned, "run")
        tell(f"of no cell of the plan any more: {runs} in MLflow; {sync} supersedes them")
    return len(compared.differences)
