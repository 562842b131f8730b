"""Checks everything that a study has on disk, without changing it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmark import locks
from benchmark.errors import DamageError, InputError
from benchmark.execution.teacher_store import TeacherStore
from benchmark.records.done import read_done
from benchmark.records.integrity import check_cell, check_weights
from benchmark.records.layout import CellFiles, StudyFolder, Workspace
from benchmark.records.search import read_search
from benchmark.study.plan import PlannedTeacher, read_plan


@dataclass
class Verified:
    """The result of a verification.

    Attributes:
        cells: Number of cells that were checked, trials of searches included.
        teachers: Number of stored teachers that were checked.
        unchained: Number of journals without a chain, from earlier versions of kdbench.
        findings: What is wrong, each in a line with its remedy.
        plan: Whether the plan can be read.
    """

    cells: int = 0
    teachers: int = 0
    unchained: int = 0
    findings: list[str] = field(default_factory=list)
    plan: bool = True

    def note(self, check: Callable[[], bool | None], remedy: str = "") -> None:
        """Run a check, and note what it finds, or that a journal is not chained.

        Args:
            check: Returns False if a journal is not chained.
            remedy: Replaces the remedy of damage.
        """
        try:
            self.unchained += check() is False
        except DamageError as error:
            self.findings.append(f"{error.problem}; {remedy}" if remedy else str(error))
        except InputError as error:
            self.findings.append(str(error))


def verify_files(study: StudyFolder, workspace: Workspace) -> Verified:
    """Check every record, marker, checkpoint and weight of a study, its searches and its teachers.

    While the study or a search is running, its unfinished cells are passed over.

    Args:
        study: Folder of the study.
        workspace: The workspace.
    """
    verified = Verified()
    _verify_cells(study, "run", verified)
    _verify_cells(study.search, "tune", verified)
    _verify_teachers(study, workspace, verified)

    for path in study.search.records():
        verified.note(partial(_check_search, path))
    verified.note(partial(_check_split, study))
    return verified


def _verify_cells(folder: StudyFolder, command: str, verified: Verified) -> None:
    """Check all cells and records of teachers of a study, or of its searches."""
    running = locks.running(folder.path)

    remedy = f"`kdbench {command}` heals the cell, or sets it aside and trains it again"
    for files in folder.cells_on_disk():
        if files.done.exists() or not running:
            verified.cells += 1
            verified.note(partial(check_cell, files), remedy)

    remedy = f"`kdbench {command}` makes this record of the teacher again"
    for files in folder.teachers_on_disk():
        if files.done.exists() or not running:
            verified.note(partial(_check_record, files), remedy)


def _check_record(files: CellFiles) -> None:
    """Check a study's record of a teacher, whose journal is a copy of the stored one."""
    check_cell(files, weights=False)


def _verify_teachers(study: StudyFolder, workspace: Workspace, verified: Verified) -> None:
    """Check the stored teachers that the plan names: cards, records and weights."""
    store = TeacherStore(workspace)
    try:
        teachers = read_plan(study.plan).teachers
    except InputError as error:
        verified.plan = False
        verified.findings.append(str(error))
        return

    for teacher in teachers:
        if teacher.teacher_id:  # else it does not exist yet
            verified.teachers += 1
            verified.note(partial(_check_teacher, store, teacher))
            verified.note(partial(_check_origin, study.files(teacher.folder), teacher))


def _check_teacher(store: TeacherStore, teacher: PlannedTeacher) -> bool:
    """Check a stored teacher; return whether its journal is chained."""
    files = store.files(teacher.id)
    remedy = f"delete the folder {files.path} to train or import this teacher again"
    card = store.card(teacher.id)
    if card is None:
        raise DamageError(f"{files.card}: missing", remedy)
    if not card.sha256.startswith(teacher.teacher_id):
        raise DamageError(f"{files.card}: is not of the weights that the study used", remedy)

    chained = store.check(card)
    try:
        check_weights(files.weights, card.sha256, None)
    except DamageError as error:
        raise DamageError(error.problem, remedy) from None
    return chained


def _check_origin(record: CellFiles, teacher: PlannedTeacher) -> None:
    """Check that a study's record of a teacher is not another teacher's."""
    try:
        done = read_done(record.done)
    except InputError:  # there is none yet, or it is found damaged with the record
        return
    if not done.sha256.startswith(teacher.teacher_id):
        remedy = "`kdbench run` makes it again"
        raise DamageError(f"{record.path}: is the record of another teacher", remedy)


def _check_search(path: Path) -> None:
    """Check that the record of a search can be read."""
    read_search(path)


def _check_split(study: StudyFolder) -> None:
    """Check that the file of the split can be read."""
    if not study.split.exists():
        return
    try:
        content = json.loads(study.split.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DamageError(f"{study.split}: damaged", "the next run writes it again")
