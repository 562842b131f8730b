"""Trains the unfinished cells of a study.

A workspace is a folder that contains one folder per study (journals, plan) and the teachers that
the studies share.
Running a study again trains only what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.execution import teachers as execution_teachers
from benchmark.execution.executors import CohortSpec, Resources
from benchmark.execution.plan_file import configuration, method_of, write_plan
from benchmark.execution.prepare import Prepared, errors_in
from benchmark.execution.session import Session
from benchmark.execution.specs import cell_spec, cohort_spec
from benchmark.files import write_atomically, write_json
from benchmark.locks import locked
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import Failed
from benchmark.records.layout import StudyFolder
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.teacher import Teacher


@dataclass
class Summary:
    """The results of a run.

    Attributes:
        planned: Number of cells that can run.
        trained: Number of cells that this run finished.
        already_done: Number of cells that were finished before.
        failed: Why each remaining cell is not finished, by cell name.
    """

    planned: int
    trained: int = 0
    already_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def run(prepared: Prepared, session: Session, cohort_size: int | None = None) -> Summary:
    """Train every unfinished cell of a study.

    Args:
        prepared: The study.
        session: The session.
        cohort_size: Maximum number of cells trained side by side; None for no limit.

    Raises:
        InputError: Another process is training the study, a teacher is below its gate, or a file
            cannot be read or written.
    """
    folder = session.workspace.study(prepared.study.name)
    with locked(folder.path):
        teachers = load_teachers(prepared, session, folder)
        hashes = {key: teacher.sha256 for key, teacher in teachers.items()}
        ids = write_plan(prepared, folder, hashes)

        folders = {
            str(cell): CellFolder(folder.cell(ids[str(cell)]).path) for cell in prepared.cells
        }
        pending = [cell for cell in prepared.cells if not folders[str(cell)].done]
        session.progress.planned(
            {str(cell): cost.length(method_of(cell), cell.recipe).total for cell in pending}
        )

        cohorts = prepared.cohorts(_distinct(pending, ids), cohort_size)
        specs = [_spec(prepared, session, cohort, folder, hashes, ids) for cohort in cohorts]
        session.executor.run(specs, Resources(prepared.data, teachers), session.progress)

        return _summary(prepared, pending, folders)


def obtain_teachers(prepared: Prepared, session: Session) -> None:
    """Train or fetch those teachers of a study that the store lacks, but train no student.

    Args:
        prepared: The study.
        session: The session.

    Raises:
        InputError: Another process is training the study; see `load_teachers` for other causes.
    """
    folder = session.workspace.study(prepared.study.name)
    with locked(folder.path):
        load_teachers(prepared, session, folder)


def load_teachers(prepared: Prepared, session: Session, folder: StudyFolder) -> dict[str, Teacher]:
    """Load every teacher of a study, training or fetching it if needed.

    First, the context of the journals is written to the folder: a copy of the study's file, the
    split, and a plan without cells.

    Args:
        prepared: The study.
        session: The session.
        folder: Folder of the study, or of its searches.

    Returns:
        The teachers by key.

    Raises:
        InputError: A teacher is below its gate or cannot be trained, or a file cannot be read or
            written.
    """
    data = prepared.data
    split = {"dataset": data.name, "fingerprint": data.fingerprint, **data.split_record()}
    write_atomically(folder.study_file, prepared.text.encode())
    write_json(folder.split, split)
    write_plan(prepared, folder, {})

    teachers: dict[str, Teacher] = {}
    with errors_in(session.source):
        for required in prepared.teachers:
            record = folder.teacher(required.key)
            teachers[required.key] = execution_teachers.obtain(required, record, data, session)
    return teachers


def _distinct(cells: Sequence[Cell], ids: Mapping[str, str]) -> list[Cell]:
    """Return one cell for each identity.

    If a search chose the published settings, two rows of the table share one cell on disk.
    """
    distinct: dict[str, Cell] = {}
    for cell in cells:
        distinct.setdefault(ids[str(cell)], cell)
    return list(distinct.values())


def _spec(
    prepared: Prepared,
    session: Session,
    cohort: Sequence[Cell],
    folder: StudyFolder,
    hashes: Mapping[str, str],
    ids: Mapping[str, str],
) -> CohortSpec:
    cells = [
        cell_spec(
            session,
            label=str(cell),
            files=folder.cell(ids[str(cell)]),
            configuration=configuration(prepared, cell, hashes),
        )
        for cell in cohort
    ]
    first = cohort[0]
    teacher = prepared.teacher_of(first.pair.name)
    recipe = prepared.study.recipe_of(first.row)
    return cohort_spec(prepared, session, teacher, recipe, first.seed, cells)


def _summary(
    prepared: Prepared, pending: Sequence[Cell], folders: Mapping[str, CellFolder]
) -> Summary:
    planned = len(prepared.cells)
    summary = Summary(planned=planned, already_done=planned - len(pending))

    for cell in pending:
        folder = folders[str(cell)]
        if folder.done:
            summary.trained += 1
        else:
            failure = folder.journal().last(Failed)
            summary.failed[str(cell)] = "not trained" if failure is None else failure.reason

    return summary
