"""Which files of a workspace an archive carries, and where an import places them."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmark.errors import InputError
from benchmark.files import write_error
from benchmark.locks import OWNER, locked
from benchmark.records.archive import unpack_archive
from benchmark.records.integrity import read_sound_journal
from benchmark.records.layout import INTACT, CellFiles, StudyFolder, Workspace
from benchmark.study.names import why_not_study
from benchmark.study.plan import read_plan

STUDY = "study"
"""Folder of the study in an archive."""

TEACHERS = "teachers"
"""Folder of the stored teachers in an archive."""

_STAGED = ".import-"
"""Prefix of the folder that an archive is unpacked into."""


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


_SUFFIXES = frozenset(
    (".json", ".jsonl", ".yaml", ".safetensors", ".txt", ".db", ".svg", ".png", ".html", ".md")
)
"""Suffixes of the files of a study. Nothing else is carried, and code above all is not."""

_OWN = frozenset((OWNER, INTACT, "heartbeat.json", "crash.txt"))
"""Names of files that describe the folder on this machine."""


def carried_files(workspace: Workspace, study: StudyFolder) -> dict[str, Path]:
    """Return the files of a study and of its stored teachers, by path in an archive.

    Raises:
        InputError: The plan is damaged, or a folder cannot be read.
    """
    plan = read_plan(study.plan)
    files = dict(_files(STUDY, study.path))
    for teacher in plan.teachers:
        files |= _files(f"{TEACHERS}/{teacher.id}", workspace.teachers / teacher.id)

    entries = [teacher.folder for teacher in plan.teachers] + [cell.folder for cell in plan.cells]
    for done in (study.files(entry).done for entry in entries):
        if done.exists() and done not in files.values():
            raise InputError(f"{done.parent}: cannot be read completely; check its permissions")
    return files


def _files(prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder, without locks and files that are being written."""
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(parent, name)
            if path.suffix in _SUFFIXES and path.name not in _OWN and path.is_file():
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
        with FileLock(workspace.import_lock):
            for old in workspace.path.glob(f"{_STAGED}*"):
                shutil.rmtree(old)  # of an import that was killed

            with tempfile.TemporaryDirectory(dir=workspace.path, prefix=_STAGED) as name:
                staged = Path(name)
                study = unpack_archive(archive, staged).study
                _check_staged(archive, staged, study)
                _check_teachers(archive, staged, workspace)
                return _place(archive, staged, workspace, study)
    except OSError as error:
        raise write_error(workspace.path, error) from error
    finally:
        if created:
            with contextlib.suppress(OSError):
                workspace.import_lock.unlink(missing_ok=True)
                workspace.path.rmdir()  # only if nothing was placed


def _check_staged(archive: Path, staged: Path, study: str) -> None:
    """Raise InputError if an archive does not contain the study that it names, or contains more."""
    reason = why_not_study(study)
    if reason is not None:
        raise InputError(f"{archive}: study {study!r}: {reason}; nothing is imported")

    for path in staged.rglob("*"):
        if path.is_file() and path.suffix not in _SUFFIXES:
            name = path.relative_to(staged).as_posix()
            raise InputError(f"{archive}: {name!r} is no file of a study; nothing is imported")

    folder = StudyFolder(staged / STUDY)
    try:
        named = folder.plan.exists() and read_plan(folder.plan).study == study
        for cell in (*_folders(folder.cells), *_folders(folder.path / TEACHERS)):
            read_sound_journal(CellFiles(cell))
    except InputError:
        raise InputError(
            f"{archive}: contains a damaged record of {study!r}; nothing is imported; run "
            "`kdbench verify` where it was exported, and export it again"
        ) from None
    if not named:
        raise InputError(f"{archive}: contains no plan of the study {study!r}; export it again")


def _check_teachers(archive: Path, staged: Path, workspace: Workspace) -> None:
    """Raise InputError if the workspace has a teacher of the archive with other weights.

    Cells belong to the weights of their teacher: those of the archive would never be found.
    """
    for folder in _folders(staged / TEACHERS):
        own, other = (
            _weights_of(place / folder.name) for place in (workspace.teachers, folder.parent)
        )
        if own and other and own != other:
            raise InputError(
                f"{archive}: its teacher {folder.name} has the weights {other[:12]}, but that of "
                f"{workspace.path} has {own[:12]}; import it into another workspace (--workspace)"
            )


def _weights_of(teacher: Path) -> str:
    """Return the SHA-256 of a stored teacher's weights; empty without a readable card."""
    try:
        card = json.loads(CellFiles(teacher).card.read_bytes())
    except (OSError, ValueError):
        return ""
    return str(card.get("sha256", "")) if isinstance(card, dict) else ""


def _place(archive: Path, staged: Path, workspace: Workspace, study: str) -> Placed:
    source, target = StudyFolder(staged / STUDY), workspace.study(study)

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
