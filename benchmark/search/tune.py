"""Searches for settings with the same budget for every method, on validation images only.

Optuna chooses the settings, and the cohort engine trains the trials. The networks of one seed and
round, across the methods of a pair, are trained in cohorts that share the data stream and the
teacher's forward passes. Each network of a trial is trained as a cell with a journal, like any
other network, but it is never evaluated on test images.

A single process chooses trials and reports their results to Optuna. Its choices depend only on the
results reported so far and on one seed per trial, so an interrupted search resumes with the same
trials, settings and values as an uninterrupted one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna

from benchmark.code import changed_modules
from benchmark.errors import InputError
from benchmark.execution.damaged import repair
from benchmark.execution.estimate import cohort_macs, estimated
from benchmark.execution.executors import Resources
from benchmark.execution.output_space import check_space, check_space_of_untrained
from benchmark.execution.prepare import Prepared, errors_in
from benchmark.execution.session import Session
from benchmark.execution.study_teachers import StudyTeachers, load_teachers
from benchmark.execution.teacher_passes import PassCounter
from benchmark.locks import locked
from benchmark.records.layout import SearchFolder
from benchmark.records.search import read_search, write_search
from benchmark.search.database import default_storage, open_storage, storage_errors
from benchmark.search.pictures import draw_pictures
from benchmark.search.recording import BestTrial, best_trial, search_record
from benchmark.search.rounds import cohorts, rounds, search_workers
from benchmark.search.row_search import RowSearch, open_searches
from benchmark.search.spaces import space
from benchmark.search.trial_cells import TrialCells
from benchmark.search.trials import Trials
from benchmark.study.schema import Search
from benchmark.study.study import Cell
from benchmark.training import cost


@dataclass
class Outcome:
    """The results of all searches of a study.

    Attributes:
        best: The best trial of every search that has a complete one.
        failed: Labels of the searches without a complete trial, or without a teacher.
        tmac: Compute of all trials in cohorts, in 10^12 multiply-accumulates.
        alone: What `tmac` would be if every cell ran the teacher's forward passes for itself.
    """

    best: list[BestTrial] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tmac: float = 0.0
    alone: float = 0.0


def tune(
    prepared: Prepared,
    session: Session,
    storage: str | None = None,
    cohort_size: int | None = None,
    on_round: Callable[[Path], None] = lambda _: None,
) -> Outcome:
    """Run all unfinished trials of a study.

    Args:
        prepared: The prepared study.
        session: The context of the command, including its workspace and executor.
        storage: Address of Optuna's database; by default a file in the study's search folder.
        cohort_size: Maximum number of cells trained side by side; None for the best size.
        on_round: Called after every round with the folder of the records.

    Raises:
        InputError: The study has no search settings, a row has nothing to search, the storage
            cannot be used, or any of the conditions listed for `run` applies.
    """
    folder = session.workspace.study(prepared.study.name).search
    with errors_in(session.source):
        search = required_search(prepared)
    address = storage or default_storage(folder)
    own_file = None if storage else folder.database

    with locked(folder.path), _quiet_optuna(), storage_errors(address, own_file):
        opened = open_storage(address, own_file)
        repair(folder, session.progress.warn)
        with errors_in(session.source):
            check_space_of_untrained(prepared, _all_cells(prepared, search), session)
        teachers = load_teachers(prepared, session, folder)
        hashes = teachers.hashes
        with errors_in(session.source):
            row_searches = open_searches(prepared, search, hashes, opened, folder)
            check_space(prepared, _unfinished(prepared, search, row_searches), hashes, session)
        _report_changed_code(row_searches, folder, session.progress.warn)
        session.progress.planned(_planned(prepared, search, row_searches))

        cells = TrialCells(prepared, search, folder, hashes)
        resources = Resources(prepared.data, teachers.loaded)
        outcome = Outcome(failed=_untaught(prepared, teachers))
        counter = PassCounter(prepared)
        for pair in prepared.study.pairs:
            own = [row_search for row_search in row_searches if row_search.pair.name == pair.name]
            trials = Trials(cells, own, session, resources, cohort_size)
            for numbers in rounds(search):
                trials.make(numbers)
                on_round(folder.path)

            _add_compute(prepared, search, own, cohort_size, session.workers, counter, outcome)
            for row_search in own:
                _conclude(row_search, cells, outcome)
        return outcome


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's log messages and its warnings about experimental features."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def required_search(prepared: Prepared) -> Search:
    """Return the search settings of a study.

    Args:
        prepared: The prepared study.

    Raises:
        InputError: The study has no search settings, or a row has nothing to search.
    """
    search = prepared.study.search
    if search is None:
        raise InputError(
            "search: missing; `kdbench tune` requires it, for example `search: {trials: 20}`"
        )

    for index, row in enumerate(prepared.study.methods):
        if not space(row, search):
            raise InputError(
                f"methods[{index}]: {row.name} has no setting to search; set search.lr or "
                "search.weight_decay, which are searched for all methods, or remove the row"
            )
    return search


def _untaught(prepared: Prepared, teachers: StudyTeachers) -> list[str]:
    """Return the labels of the searches whose teacher could not be trained."""
    cells = {str(cell): f"{cell.pair.name} / {cell.row.name}" for cell in prepared.cells}
    return list(dict.fromkeys(cells[name] for name in teachers.untaught(prepared)))


def _all_cells(prepared: Prepared, search: Search) -> list[Cell]:
    """Return a cell for each seed of each search."""
    first = prepared.study.seeds[0]
    return [
        replace(cell, seed=seed)
        for cell in prepared.cells
        if cell.seed == first
        for seed in search.seeds
    ]


def _unfinished(
    prepared: Prepared, search: Search, row_searches: Sequence[RowSearch]
) -> Iterator[Cell]:
    """Yield a cell for each seed of each search that has trials to run."""
    for row_search in row_searches:
        if sum(trial.state.is_finished() for trial in row_search.trials()) < search.trials:
            for seed in search.seeds:
                yield Cell(prepared.study, row_search.pair, row_search.row, seed)


def _report_changed_code(
    row_searches: Sequence[RowSearch], folder: SearchFolder, say: Callable[[str], None]
) -> None:
    """Say which searches start anew because code has changed since their earlier trials."""
    records = [read_search(path) for path in folder.records()]

    for row_search in row_searches:
        if row_search.trials():
            continue
        for record in records:
            if record.definition == row_search.definition and record.code is not None:
                changed = ", ".join(changed_modules(record.code, row_search.code))
                say(f"{row_search.label}: {changed} changed since the last search; starting anew")


def _planned(
    prepared: Prepared, search: Search, row_searches: Sequence[RowSearch]
) -> dict[str, int]:
    """Return the number of epochs of each training run of the unfinished trials, by label."""
    planned: dict[str, int] = {}
    for row_search in row_searches:
        ended = sum(trial.state.is_finished() for trial in row_search.trials())
        method = row_search.method(row_search.published)
        epochs = cost.length(method, prepared.study.recipe_of(row_search.row)).total

        for number in range(ended, search.trials):
            for seed in search.seeds:
                planned[row_search.trial_label(number, seed)] = epochs
    return planned


def _add_compute(
    prepared: Prepared,
    search: Search,
    row_searches: Sequence[RowSearch],
    cohort_size: int | None,
    workers: int,
    counter: PassCounter,
    outcome: Outcome,
) -> None:
    """Add the compute of a pair's trials to the outcome.

    The teacher's passes are shared only within a cohort, unless its outputs are stored, so that
    smaller cohorts cost more.
    """
    seed = search.seeds[0]
    cells = [Cell(prepared.study, own.pair, own.row, seed) for own in row_searches]

    for numbers in rounds(search):
        trials = [(cell, number) for number in numbers for cell in cells]
        at_once = search_workers(search, workers)
        for cohort in cohorts(prepared, trials, cohort_size, at_once):
            members = [estimated(cell) for cell, _ in cohort]
            learners = [member.learner for member in members]
            passes = counter.count(learners, members[0].recipe, seed)
            shared, alone = cohort_macs(prepared, members, passes)
            outcome.tmac += len(search.seeds) * shared / 1e12
            outcome.alone += len(search.seeds) * alone / 1e12


def _conclude(row_search: RowSearch, cells: TrialCells, outcome: Outcome) -> None:
    """Draw a search's figures, write its record, and add its best trial to the outcome."""
    draw_pictures(row_search, cells.folder, cells.search)
    record = search_record(row_search, cells)
    write_search(cells.folder.record(row_search.key), record)

    best = best_trial(row_search, record)
    if best is None:
        outcome.failed.append(row_search.label)
    else:
        outcome.best.append(best)
