"""Where a study's cells are trained: the plan, its cohorts, and one process that works them off.

A workspace is a folder with one folder per study (journals, plan) and the teachers that they share. Running a study
again trains what is not done; nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmark.execution import teachers
from benchmark.execution.plan_file import configuration, method_of, task, write_plan
from benchmark.execution.prepare import Prepared, named
from benchmark.execution.teacher_store import Store
from benchmark.files import write_atomically, write_json
from benchmark.locks import locked
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import Failed
from benchmark.records.layout import StudyFolder
from benchmark.training import cost
from benchmark.training.cohort import train
from benchmark.training.conditions import Conditions
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher


@dataclass
class Summary:
    """What a run did.  failed: label -> reason."""

    planned: int
    trained: int = 0
    already_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def run(
    prepared: Prepared,
    workspace: Path,
    source: str,
    environment: dict[str, str],
    progress: Progress,
    cohort_size: int | None = None,
) -> Summary:
    """Trains all that is not done. Raises InputError if another process is at it, or a teacher is below its gate."""
    study, data = prepared.study, prepared.data
    folder = workspace / study.name
    with locked(folder):
        lent = lend(prepared, workspace, folder, source, environment, progress)
        hashes = {key: teacher.sha256 for key, teacher in lent.items()}
        ids = write_plan(prepared, folder, hashes)
        places = {
            str(cell): CellFolder(StudyFolder(folder).cell(ids[str(cell)]).path)
            for cell in prepared.cells
        }
        summary = Summary(planned=len(prepared.cells))
        pending = [cell for cell in prepared.cells if not places[str(cell)].done]
        summary.already_done = summary.planned - len(pending)
        progress.planned(
            {str(cell): cost.length(method_of(cell), study.recipe).total for cell in pending}
        )
        # What a search found may be what was published: two rows of the table, one cell on disk.
        distinct = list({ids[str(cell)]: cell for cell in reversed(pending)}.values())[::-1]
        for cohort in prepared.cohorts(distinct, cohort_size):
            want = prepared.teacher_of(cohort[0])
            conditions = Conditions(
                data, study.recipe, cohort[0].seed, study.select, lent[want.key], environment
            )
            tasks = [
                task(cell, places[str(cell)], configuration(prepared, cell, hashes), want.network)
                for cell in cohort
            ]
            train(tasks, conditions, progress)
        for cell in pending:
            if places[str(cell)].done:
                summary.trained += 1
            else:
                failure = places[str(cell)].journal().last(Failed)
                summary.failed[str(cell)] = "not trained" if failure is None else failure.reason
        return summary


def obtain_teachers(
    prepared: Prepared,
    workspace: Path,
    source: str,
    environment: dict[str, str],
    progress: Progress,
) -> None:
    """Trains or fetches the teachers of a study that the store lacks, and no student."""
    folder = workspace / prepared.study.name
    with locked(folder):
        lend(prepared, workspace, folder, source, environment, progress)


def lend(
    prepared: Prepared,
    workspace: Path,
    folder: Path,
    source: str,
    environment: dict[str, str],
    progress: Progress,
) -> dict[str, Teacher]:
    """All teachers of a study, by key, measured; the folder then tells what its journals belong to."""
    data, store = prepared.data, Store(workspace)
    write_atomically(StudyFolder(folder).study_file, prepared.text.encode())
    write_json(
        StudyFolder(folder).split,
        {"dataset": data.name, "fingerprint": data.fingerprint, **data.split_record()},
    )
    write_plan(prepared, folder, {})
    lent = {}
    with named(source):
        for want in prepared.wanted:
            record = StudyFolder(folder).teacher(want.key).path
            lent[want.key] = teachers.obtain(want, store, record, data, environment, progress)
    return lent
