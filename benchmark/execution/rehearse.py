"""Rehearses a study: every kind of cell takes a few steps, and nothing is recorded.

The cells of all seeds cost the same, so only those of the first seed are rehearsed, in the cohorts
in which `run` with one worker would train them. All files are written to a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import seeds
from benchmark.execution.executors import CellSpec, CohortSpec, Resources
from benchmark.execution.identities import plain_configuration
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.session import Session
from benchmark.execution.specs import cohort_spec
from benchmark.execution.stand_in import teacher_on_trial
from benchmark.records.layout import StudyFolder
from benchmark.study.study import Cell
from benchmark.training.progress import Progress
from benchmark.training.rehearsal import Figures
from benchmark.wording import counted

SECONDS = 70.0
"""Time for the steps of all cohorts; beyond it, the first step of each cell has to do."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found out.

    Attributes:
        missing: Keys of the teachers that the store lacks; untrained networks stood in for them.
        figures: What was measured, by the names that `name_of` and `training_of` return.
        failed: Why the others failed, by the same names.
    """

    missing: frozenset[str]
    figures: dict[str, Figures] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def name_of(cell: Cell) -> str:
    """Return the name that the cells of a pair and a row share, whatever their seed."""
    return f"{cell.pair.name} / {cell.row.name}"


def training_of(teacher: RequiredTeacher) -> str:
    """Return the name of the training of a teacher."""
    return f"{teacher.location} ({teacher.network.model})"


def rehearse(
    prepared: Prepared,
    session: Session,
    cohort_size: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Let every kind of cell take a few steps, and the teachers that are to be trained.

    Args:
        prepared: The study.
        session: The session. Nothing is written to its workspace.
        cohort_size: Maximum number of cells per cohort; None for no limit.
        say: Receives a line for each cohort.

    Raises:
        InputError: A stored teacher is damaged, or a file cannot be read or written.
    """
    cards = {teacher.key: session.store.card(teacher.key) for teacher in prepared.teachers}
    hashes = {key: "" if card is None else card.sha256 for key, card in cards.items()}
    rehearsal = Rehearsal(frozenset(key for key, card in cards.items() if card is None))
    listener = _Listener(session.progress, rehearsal)

    with tempfile.TemporaryDirectory() as place:
        folder = StudyFolder(Path(place) / prepared.study.name)
        specs = [
            *_trainings(prepared, session, folder, rehearsal.missing),
            *_cohorts(prepared, session, folder, hashes, cohort_size),
        ]
        deadline = time.monotonic() + SECONDS
        for number, spec in enumerate(specs):
            say(f"rehearsing {_described(spec)} ({number + 1} of {len(specs)})")
            share = len(spec.cells) / sum(len(later.cells) for later in specs[number:])
            seconds = share * max(0.0, deadline - time.monotonic())
            timed = spec.model_copy(update={"rehearsal": seconds})
            session.executor.run([timed], _resources(prepared, session, timed), listener)

    return rehearsal


def _trainings(
    prepared: Prepared, session: Session, folder: StudyFolder, missing: frozenset[str]
) -> Iterator[CohortSpec]:
    """Yield a cohort of one for each teacher that is to be trained."""
    for teacher in prepared.teachers:
        recipe = teacher.recipe
        if teacher.key in missing and recipe is not None:
            files = folder.teacher(teacher.key)
            name = training_of(teacher)
            cell = CellSpec(label=name, folder=str(files.path), configuration=teacher.configuration)
            seed = seeds.derive(teacher.pair.teacher.seed, "teacher")
            yield cohort_spec(prepared, session, None, recipe, seed, [cell])


def _cohorts(
    prepared: Prepared,
    session: Session,
    folder: StudyFolder,
    hashes: Mapping[str, str],
    cohort_size: int | None,
) -> Iterator[CohortSpec]:
    """Yield the cohorts of the first seed."""
    seed = prepared.study.seeds[0]
    cells = [cell for cell in prepared.cells if cell.seed == seed]
    numbers = {str(cell): number for number, cell in enumerate(cells)}

    for cohort in prepared.cohorts(cells, cohort_size):
        specs = []
        for cell in cohort:
            files = folder.cell(str(numbers[str(cell)]))
            configuration, _ = plain_configuration(prepared, cell, hashes)
            specs.append(
                CellSpec(label=name_of(cell), folder=str(files.path), configuration=configuration)
            )

        teacher = prepared.teacher_of(cohort[0].pair.name)
        recipe = prepared.study.recipe_of(cohort[0].row)
        yield cohort_spec(prepared, session, teacher, recipe, seed, specs)


def _resources(prepared: Prepared, session: Session, spec: CohortSpec) -> Resources:
    """Return what an executor in this process needs."""
    teachers = {
        teacher.key: teacher_on_trial(teacher.key, teacher.network, session.store, prepared.data)
        for teacher in prepared.teachers
        if teacher.key == spec.teacher
    }
    return Resources(prepared.data, teachers)


def _described(spec: CohortSpec) -> str:
    if spec.teacher is None:
        return f"the training of {spec.cells[0].label}"
    return counted(len(spec.cells), "row")


class _Listener(Progress):
    """Notes what is measured, and passes warnings on."""

    def __init__(self, progress: Progress, rehearsal: Rehearsal):
        self._progress = progress
        self._rehearsal = rehearsal

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Note what was measured of a cell."""
        self._rehearsal.figures[cell] = Figures(**metrics)

    def failed(self, cell: str, reason: str) -> None:
        """Note why a cell failed."""
        self._rehearsal.failed[cell] = reason

    def warn(self, text: str) -> None:
        """Pass a warning on."""
        self._progress.warn(text)
