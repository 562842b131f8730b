"""Trains the unfinished cells of a study.

A workspace is a folder that contains one folder per study (journals, plan) and the teachers that
the studies share.
Running a study again trains only what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.execution import own_metrics
from benchmark.execution.damaged import repair
from benchmark.execution.estimate import cohorts_for
from benchmark.execution.executors import CohortSpec, Resources
from benchmark.execution.forget import set_aside
from benchmark.execution.identities import Identified, Stale, find_stale, identify_all
from benchmark.execution.output_space import check_space, check_space_of_untrained
from benchmark.execution.plan_file import write_plan
from benchmark.execution.prepare import Prepared, errors_in
from benchmark.execution.recorded_code import record_code
from benchmark.execution.rows import method_of
from benchmark.execution.session import Session
from benchmark.execution.specs import cell_spec, cohort_spec
from benchmark.execution.stale import kept, report_stale
from benchmark.execution.study_teachers import load_teachers
from benchmark.locks import locked
from benchmark.measures import BY_COLUMN
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final
from benchmark.records.layout import StudyFolder
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.progress import saved_seconds

TIMES = ("train_seconds", "teacher_seconds")
"""Columns of a cell's training time, as if it had been trained alone."""


@dataclass
class Summary:
    """The results of a run.

    Attributes:
        planned: Number of cells that can run.
        trained: Number of cells that this run finished.
        already_done: Number of cells that were finished before.
        failed: Why each remaining cell is not finished, by cell name.
        saved_seconds: Time of the teachers' forward passes that the cells of `trained` would have
            needed besides, had each been trained alone.
        alone_seconds: Training time that these cells would have needed then.
    """

    planned: int
    trained: int = 0
    already_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    saved_seconds: float = field(default=0.0, compare=False)
    alone_seconds: float = field(default=0.0, compare=False)


def run(
    prepared: Prepared,
    session: Session,
    cohort_size: int | None = None,
    *,
    keep_stale: bool = False,
    retrain: bool = False,
) -> Summary:
    """Train every unfinished cell of a study.

    Args:
        prepared: The study.
        session: The session.
        cohort_size: Maximum number of cells trained side by side; None for the best size.
        keep_stale: Whether finished cells whose code has changed since are kept, and marked in
            the leaderboard, instead of trained again.
        retrain: Whether finished cells are set aside and trained again.

    Raises:
        InputError: Another process is training the study, a teacher is below its gate, the disk
            is too small for `teacher_cache`, or a file cannot be read or written.
    """
    folder = session.workspace.study(prepared.study.name)
    with locked(folder.path):
        unusable = repair(folder, session.progress.warn)
        with errors_in(session.source):
            check_space_of_untrained(prepared, prepared.cells, session)
        teachers = load_teachers(prepared, session, folder)
        hashes = teachers.hashes
        if retrain:
            _set_aside_finished(prepared, hashes, folder)

        cells, stale = _identify(prepared, hashes, folder, session, keep_stale)
        write_plan(prepared, folder, hashes, cells, stale)

        taught = teachers.taught(prepared)
        folders = {name: CellFolder(folder.cell(cell.id).path) for name, cell in cells.items()}
        left_alone = {name for name, cell in cells.items() if cell.id in unusable}
        pending = [
            cell for cell in taught.cells if str(cell) in left_alone or not folders[str(cell)].done
        ]
        session.progress.planned(
            {str(cell): cost.length(method_of(cell), cell.recipe).total for cell in pending}
        )

        trainable = [cell for cell in pending if str(cell) not in left_alone]
        with errors_in(session.source):
            check_space(prepared, trainable, hashes, session)
        cohorts = cohorts_for(taught, _distinct(trainable, cells), cohort_size, session.workers)
        specs = [_spec(prepared, session, cohort, folder, cells) for cohort in cohorts]
        if session.profile:
            specs = _traced(specs, folder)
        resources = Resources(prepared.data, teachers.loaded)
        session.executor.run(specs, resources, session.progress)

        if prepared.metrics:
            usable = [cell for cell in taught.cells if str(cell) not in left_alone]
            everything = taught.cohorts(_distinct(usable, cells), None)
            specs = [_spec(prepared, session, cohort, folder, cells) for cohort in everything]
            own_metrics.measure_students(specs, resources, prepared.metrics)
            own_metrics.measure_teachers(taught, resources, folder, prepared.metrics)

        reasons = {name: unusable[cells[name].id] for name in left_alone}
        return _summary(pending, folders, reasons, teachers.untaught(prepared))


def _set_aside_finished(prepared: Prepared, hashes: Mapping[str, str], folder: StudyFolder) -> None:
    """Set aside the finished cells of a study."""
    cells = identify_all(prepared, hashes, folder).values()
    finished = {cell.id for cell in cells if CellFolder(folder.cell(cell.id).path).done}
    set_aside(folder, sorted(finished))


def _identify(
    prepared: Prepared,
    hashes: Mapping[str, str],
    folder: StudyFolder,
    session: Session,
    keep_stale: bool,
) -> tuple[dict[str, Identified], dict[str, Stale]]:
    """Identify all cells, and report those whose code has changed since they were trained.

    Returns:
        The cells by name, and those of them that are stale and kept nevertheless.
    """
    cells = identify_all(prepared, hashes, folder)
    stale = find_stale(cells, folder)
    stale_and_kept = kept(stale, cells) if keep_stale else {}
    report_stale(prepared.cells, stale, stale_and_kept, session.progress.warn)

    cells |= {name: item.cell for name, item in stale_and_kept.items()}
    unknown = [
        cell.id
        for cell in cells.values()
        if record_code(cell.configuration, cell.code, folder.cell(cell.id))
    ]
    if unknown:
        session.progress.warn(
            "cells from a version of kdbench that did not record code: "
            f"{len(unknown)}; from now on, they count as trained with the present code"
        )
    return cells, stale_and_kept


def _distinct(cells: Sequence[Cell], identified: Mapping[str, Identified]) -> list[Cell]:
    """Return one cell for each identity.

    If a search chose the published settings, two rows of the table share one cell on disk.
    """
    distinct: dict[str, Cell] = {}
    for cell in cells:
        distinct.setdefault(identified[str(cell)].id, cell)
    return list(distinct.values())


def _spec(
    prepared: Prepared,
    session: Session,
    cohort: Sequence[Cell],
    folder: StudyFolder,
    identified: Mapping[str, Identified],
) -> CohortSpec:
    cells = [
        cell_spec(
            session,
            label=str(cell),
            files=folder.cell(identified[str(cell)].id),
            configuration=identified[str(cell)].configuration,
        )
        for cell in cohort
    ]
    first = cohort[0]
    teacher = prepared.teacher_of(first.pair.name)
    recipe = prepared.study.recipe_of(first.row)
    return cohort_spec(prepared, session, teacher, recipe, first.seed, cells)


def _traced(specs: Sequence[CohortSpec], folder: StudyFolder) -> list[CohortSpec]:
    """Return cohorts of which a few steps are traced, and remove the traces of earlier runs."""
    if specs:
        shutil.rmtree(folder.profiles, ignore_errors=True)

    digits = len(str(len(specs)))
    return [
        spec.model_copy(update={"profile": f"cohort-{number:0{digits}}"})
        for number, spec in enumerate(specs, start=1)
    ]


def _summary(
    pending: Sequence[Cell],
    folders: Mapping[str, CellFolder],
    unusable: Mapping[str, str],
    untaught: Mapping[str, str],
) -> Summary:
    """Count the cells that ended well, and say why the others did not.

    Args:
        pending: The cells that were to be trained.
        folders: The folders of all cells whose teacher is known, by cell name.
        unusable: Why cells among them cannot be trained, by cell name.
        untaught: Why all other cells have no teacher, by cell name.
    """
    already_done = len(folders) - len(pending)
    summary = Summary(len(folders) + len(untaught), already_done=already_done, failed={**untaught})

    for cell in pending:
        folder = folders[str(cell)]
        if str(cell) in unusable:
            summary.failed[str(cell)] = unusable[str(cell)]
        elif folder.done:
            summary.trained += 1
            saved, alone = _saved_and_alone(folder)
            summary.saved_seconds += saved
            summary.alone_seconds += alone
        else:
            failure = folder.journal().last(Failed)
            summary.failed[str(cell)] = "not trained" if failure is None else failure.reason

    return summary


def _saved_and_alone(folder: CellFolder) -> tuple[float, float]:
    """Return what sharing the teacher's passes saved a cell, and how long it trains alone."""
    journal = folder.journal()
    epochs = [record for record in journal.records if isinstance(record, EarlyEpoch | Epoch)]
    saved = sum(saved_seconds(record.metrics) for record in epochs)

    final = journal.last(Final)
    costs = {} if final is None else final.metrics
    return saved, sum(costs.get(BY_COLUMN[column].key, 0.0) for column in TIMES)
