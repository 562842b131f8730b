"""`export` and `import`: carry a study between workspaces and machines."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.leaderboard import print_leaderboard, publish_leaderboard
from benchmark.cli.options import (
    StudyName,
    TrackingUri,
    loaded_study,
    mlflow_store,
    study_folder,
    workspace_of,
)
from benchmark.cli.screen import tell
from benchmark.errors import InputError
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.wording import counted

if TYPE_CHECKING:
    from benchmark.records.carried import Placed
    from benchmark.tracking.store import Store

ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE.tar", help="The archive.")]
Track = Annotated[
    bool, typer.Option("--track/--no-track", help="Carry what was added to runs in MLflow by hand.")
]


def export(
    context: typer.Context,
    study: StudyName,
    file: ArchiveFile,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    track: Track = True,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a study with its journals, students, teachers and searches to one file."""
    from benchmark.records.archive import write_archive
    from benchmark.records.carried import STUDY, carried_files, locked_study

    folder = study_folder(context, study)
    if file.exists() and not force:
        raise InputError(f"{file}: exists already; choose another name, or replace it with --force")

    store = mlflow_store(context, loaded_study(study), tracking_uri) if track else None
    workspace = Workspace(workspace_of(context))
    with locked_study(folder), _handmade(folder, store) as handmade:
        files = carried_files(workspace, folder)
        if handmade is not None:
            files[f"{STUDY}/{folder.handmade.name}"] = handmade
        write_archive(file, folder.path.name, files)

    size = file.stat().st_size / 2**20
    tell(
        f"wrote {file} ({counted(len(files), 'file')}, {size:.1f} MiB); data sets and plug-ins are "
        "not in it"
    )
    tell(f"`kdbench import {file.name}` adds the study to another workspace")


def import_(
    context: typer.Context,
    file: ArchiveFile,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record the study in MLflow.")
    ] = True,
    tracking_uri: TrackingUri = None,
) -> None:
    """Add the study of a file to this workspace, and record it in MLflow."""
    from benchmark.records.carried import place_archive

    if not file.is_file():
        problem = "is not a file" if file.exists() else "no such file"
        raise InputError(f"{file}: {problem}; give a file of `kdbench export`")

    store = mlflow_store(context, None, tracking_uri) if track else None
    workspace = Workspace(workspace_of(context))
    placed = place_archive(file, workspace)

    folder = workspace.study(placed.study)
    _tell_placed(placed, folder)
    if store is None:
        tell(f"`kdbench sync {placed.study}` writes it to MLflow")
        return

    _record(folder, store)


@contextlib.contextmanager
def _handmade(folder: StudyFolder, store: Store | None) -> Iterator[Path | None]:
    """Write what users added to the study's runs to a temporary file, if they added anything."""
    from benchmark.tracking.handmade import collect

    content = None if store is None else collect(folder, store)
    if content is None:
        yield None
        return

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, folder.handmade.name)
        path.write_bytes(content)
        yield path


def _tell_placed(placed: Placed, folder: StudyFolder) -> None:
    """Say what an import added and what it kept."""
    tell(f"{placed.study}: {counted(placed.added, 'cell')} added to {folder.path}")
    if placed.merged:
        tell(f"{counted(placed.kept, 'cell')} of this workspace kept, and so is its plan")
    if placed.searches_kept:
        tell("searches of this workspace kept; those of the archive are left out")
    tell("data sets and plug-ins are not in an archive; the next run loads what it needs again")


def _record(folder: StudyFolder, store: Store) -> None:
    """Write a study and its searches to MLflow, with the report."""
    from benchmark.cli.screen import warn
    from benchmark.redact import shown
    from benchmark.study.plan import read_plan
    from benchmark.tracking.sync import sync
    from benchmark.tracking.sync_search import sync_search

    sync_search(folder.search.path, store, warn=warn)
    counts = sync(folder.path, store, warn=warn)
    tell(f"{counted(counts.created, 'run')} added, {counts.updated} updated in {shown(store.uri)}")

    try:
        publish_leaderboard(print_leaderboard(read_plan(folder.plan).experiment, store))
    except InputError as error:
        tell(f"no table: {error}")
