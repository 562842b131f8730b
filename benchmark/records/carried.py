"""Which files of a workspace an archive carries, and where an import places them."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.files import write_error
from benchmark.locks import OWNER, locked
from benchmark.records.archive import unpack_archive
from benchmark.records.layout import INTACT, CellFiles, StudyFolder, Workspace
from benchmark.study.plan import read_plan

STUDY = "study"
"""Folder of the study in an archive."""

TEACHERS = "teachers"
"""Folder of the stored teachers in an archive."""


@dataclass(frozen=True)
class Placed:
    """The effect of an import.

    Attributes:
        study: Name of the study.
        merged: Whether the workspace already had the study.
        added: Number of cells that were added.
        kept: Number of cells that were not added, because the workspace has them.
        searches_kept: Whether the archive's searches were left out, because the workspace has some.
    """

    study: str
    merged: bool
    added: int
    kept: int
    searches_kept: bool


def carried_files(workspace: Workspace, study: StudyFolder) -> dict[str, Path]:
    """Return the files of a study and of its stored teachers, by path in an archive.

    Raises:
        InputError: The plan is damaged.
    """
    files = dict(_files(STUDY, study.path))
    for teacher in read_plan(study.plan).teachers:
        files |= _files(f"{TEACHERS}/{teacher.id}", workspace.teachers / teacher.id)

    return files


def _files(prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder, without locks and files that are being written."""
    for path in folder.rglob("*"):
        temporary = path.suffix in (".lock", ".part") or path.name in (OWNER, INTACT)
        if path.is_file() and not temporary:
            yield f"{prefix}/{path.relative_to(folder).as_posix()}", path


def place_archive(archive: Path, workspace: Workspace) -> Placed:
    """Add the study of an archive to a workspace.

    Everything is checked before anything is placed. A new study appears when it is complete. If the
    workspace has the study, its plan, its finished cells and its searches stay as they are.

    Raises:
        InputError: The archive is refused, the study is being trained, or a file cannot be written.
    """
    created = not workspace.path.exists()
    try:
        workspace.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=workspace.path, prefix=".import-") as name:
            staged = Path(name)
            study = unpack_archive(archive, staged).study
            _check_staged(archive, StudyFolder(staged / STUDY), study)
            return _place(staged, workspace, study)
    except OSError as error:
        raise write_error(workspace.path, error) from error
    finally:
        if created:
            with contextlib.suppress(OSError):
                workspace.path.rmdir()  # only if nothing was placed


def _check_staged(archive: Path, staged: StudyFolder, study: str) -> None:
    """Raise InputError if an archive does not contain the study that it names."""
    if not staged.plan.exists() or read_plan(staged.plan).study != study:
        raise InputError(f"{archive}: contains no plan of the study {study!r}; export it again")


def _place(staged: Path, workspace: Workspace, study: str) -> Placed:
    source, target = StudyFolder(staged / STUDY), workspace.study(study)
    reserved = (workspace.data, workspace.teachers, workspace.artifacts, workspace.run_cache)
    if target.path in reserved:
        raise InputError(f"{target.path}: no folder of a study; nothing is imported")

    if target.path.exists():
        with locked(target.path), _locked_searches(target):
            _place_teachers(staged, workspace)
            return _merge(source, target, study)

    _place_teachers(staged, workspace)
    added = len(_folders(source.cells))
    source.path.rename(target.path)
    return Placed(study, merged=False, added=added, kept=0, searches_kept=False)


@contextlib.contextmanager
def _locked_searches(study: StudyFolder) -> Iterator[None]:
    """Lock the searches of a study, if it has any."""
    if not study.search.path.exists():
        yield
        return

    with locked(study.search.path):
        yield


@contextlib.contextmanager
def locked_study(study: StudyFolder) -> Iterator[None]:
    """Lock a study and its searches.

    Raises:
        InputError: Another process trains the study or searches.
    """
    with locked(study.path), _locked_searches(study):
        yield


def _place_teachers(staged: Path, workspace: Workspace) -> None:
    """Add the stored teachers that a workspace lacks."""
    for folder in _folders(staged / TEACHERS):
        target = CellFiles(workspace.teachers / folder.name)
        if target.card.exists():
            continue

        target.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target.path, ignore_errors=True)  # without a card, it is not in the store
        folder.rename(target.path)


def _merge(source: StudyFolder, target: StudyFolder, study: str) -> Placed:
    """Add what a study lacks. The caller holds its locks."""
    _place_set_aside(source, target)

    added = kept = 0
    for folder in _folders(source.cells):
        if _add_cell(folder, target):
            added += 1
        else:
            kept += 1

    for folder in _folders(source.path / TEACHERS):
        record = target.teacher(folder.name)
        if not record.path.exists():
            record.path.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(record.path)

    searches_kept = source.search.path.exists() and target.search.path.exists()
    if source.search.path.exists() and not searches_kept:
        source.search.path.rename(target.search.path)

    for path in sorted(source.path.iterdir()):
        if path.is_file() and not (target.path / path.name).exists():
            path.rename(target.path / path.name)

    return Placed(study, merged=True, added=added, kept=kept, searches_kept=searches_kept)


def _add_cell(folder: Path, target: StudyFolder) -> bool:
    """Add a cell unless the study has it; an unfinished one gives way to a finished one."""
    new, old = CellFiles(folder), target.cell(folder.name)

    if old.path.exists():
        if old.done.exists() or not new.done.exists():
            return False

        aside = target.set_aside(folder.name).path
        aside.parent.mkdir(exist_ok=True)
        old.path.rename(aside)

    old.path.parent.mkdir(exist_ok=True)
    folder.rename(old.path)
    return True


def _place_set_aside(source: StudyFolder, target: StudyFolder) -> None:
    """Add the cells that were set aside, unless the study has the same ones."""
    known = [CellFiles(folder).journal for folder in _folders(target.forgotten)]

    for folder in _folders(source.forgotten):
        journal = CellFiles(folder).journal
        if not journal.exists():
            continue
        if any(path.exists() and filecmp.cmp(path, journal, shallow=False) for path in known):
            continue

        identity = folder.name.rpartition("-")[0]
        place = target.set_aside(identity).path
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir())
