"""Prices a study from what its rehearsal measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import methods
from benchmark.data import Data
from benchmark.execution.balance import makespan
from benchmark.execution.estimate import cohorts_for
from benchmark.execution.prepare import Prepared
from benchmark.execution.rehearse import Rehearsal, name_of, training_of
from benchmark.execution.rows import method_of, row_of
from benchmark.execution.teacher_passes import Learner, PassCounter
from benchmark.study.schema import Recipe
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.rehearsal import Figures
from methods import Method


@dataclass(frozen=True)
class RowPrice:
    """The price of a row of a pair.

    Attributes:
        pair: Name of the pair.
        row: Name of the row.
        figures: What was measured of its cells.
        factor: Time of a step per image as a multiple of the student alone's; None if the study
            does not train the student alone.
        seconds: Time of all seeds, without the teacher.
    """

    pair: str
    row: str
    figures: Figures
    factor: float | None
    seconds: float


@dataclass(frozen=True)
class Price:
    """The time that a study takes, in seconds.

    Attributes:
        rows: The rows, by falling cost.
        passes: Time of the teachers' forward passes, each of which a whole cohort shares.
        batches: Time that cohorts wait for batches.
        teachers: Time in which missing teachers are trained.
        saved: Time of the further passes that cells would need if each was trained alone.
        elapsed: Time from the beginning to the end, with all workers.
    """

    rows: list[RowPrice]
    passes: float
    batches: float
    teachers: float
    saved: float
    elapsed: float

    @property
    def students(self) -> float:
        """Time of the students: steps, validation, checkpoints and tests."""
        return sum(row.seconds for row in self.rows)

    @property
    def total(self) -> float:
        """Time of everything."""
        return self.students + self.passes + self.batches + self.teachers


def price(
    prepared: Prepared, rehearsal: Rehearsal, cohort_size: int | None = None, workers: int = 1
) -> Price:
    """Price all cells of a study, whether or not some are trained, and the missing teachers.

    What failed in the rehearsal is left out.

    Args:
        prepared: The study.
        rehearsal: What was measured.
        cohort_size: Maximum number of cells per cohort; None for the best size.
        workers: Number of cohorts that are trained at once.
    """
    figures = rehearsal.figures
    measured = [cell for cell in prepared.cells if name_of(cell) in figures]
    cohorts = [
        [_priced(prepared.data, cell, figures) for cell in cohort]
        for cohort in cohorts_for(prepared, measured, cohort_size, workers)
    ]

    seconds: dict[tuple[str, str], float] = {}
    for member in (member for cohort in cohorts for member in cohort):
        key = member.cell.pair.name, member.cell.row.name
        seconds[key] = seconds.get(key, 0.0) + member.training.seconds
    rows = [_row(prepared, pair, row, figures, time) for (pair, row), time in seconds.items()]

    counter = PassCounter(prepared)
    shared = [_passes(cohort, counter) for cohort in cohorts]
    alone = [_passes([member], PassCounter(prepared)) for cohort in cohorts for member in cohort]
    batches = [_batches([member.training for member in cohort]) for cohort in cohorts]
    own = [sum(member.training.seconds for member in cohort) for cohort in cohorts]
    whole = [(sum(parts), parts) for parts in zip(own, shared, batches, strict=True)]
    teachers = sum(_trainings(prepared, figures))
    return Price(
        rows=sorted(rows, key=lambda row: -row.seconds),
        passes=sum(shared),
        batches=sum(batches),
        teachers=teachers,
        saved=sum(alone) - sum(shared),
        elapsed=teachers + makespan(whole, workers),
    )


@dataclass(frozen=True)
class _Training:
    """A training whose steps were measured.

    Attributes:
        method: Its method.
        length: Number of epochs in each stage.
        steps: Batches per epoch.
        figures: What was measured.
        seconds: Time to build it, and of its own steps, validation, checkpoints and test.
    """

    method: Method
    length: cost.Length
    steps: int
    figures: Figures
    seconds: float


@dataclass(frozen=True)
class _Priced:
    """A cell and its training."""

    cell: Cell
    training: _Training


def _priced(data: Data, cell: Cell, figures: Mapping[str, Figures]) -> _Priced:
    return _Priced(cell, _training(data, method_of(cell), cell.recipe, figures[name_of(cell)]))


def _training(data: Data, method: Method, recipe: Recipe, figures: Figures) -> _Training:
    """Price a training, which a time limit may cut."""
    steps = data.steps(recipe.batch_size)
    length = _length(method, recipe, steps, figures)

    own_steps = steps * (length.early * figures.early_step + length.epochs * figures.step)
    validated = 0 if data.val is None else length.epochs * len(data.val)
    evaluations = (validated + data.tests) * figures.evaluated
    checkpoints = length.total * figures.checkpoint
    seconds = own_steps + evaluations + checkpoints + figures.built + figures.final
    return _Training(method, length, steps, figures, seconds)


def _length(method: Method, recipe: Recipe, steps: int, figures: Figures) -> cost.Length:
    """Return the number of epochs in each stage, which a time limit of the recipe may cut."""
    length = cost.length(method, recipe)
    if recipe.max_hours is None:
        return length

    def seconds(epochs: cost.Length, step: float) -> float:
        passes = cost.teacher_passes([(method, epochs)])
        return steps * (epochs.total * step + passes * figures.teacher)

    left = 3600 * recipe.max_hours - seconds(cost.Length(length.early, 0), figures.early_step)
    affordable = math.ceil(left / max(seconds(cost.Length(0, 1), figures.step), 1e-9))
    return replace(length, epochs=max(1, min(length.epochs, affordable)))


def _passes(cohort: Sequence[_Priced], counter: PassCounter) -> float:
    """Return the time of the teacher's passes for the next cohort."""
    cell = cohort[0].cell
    trainings = [member.training for member in cohort]
    learners = [
        Learner(member.cell.pair.name, member.training.method, member.training.length)
        for member in cohort
    ]
    passes = counter.count(learners, cell.recipe, cell.seed)
    single = max(training.figures.teacher for training in trainings)
    return passes * trainings[0].steps * single


def _batches(trainings: Sequence[_Training]) -> float:
    """Return the time that a cohort waits for batches."""
    early = max(training.length.early for training in trainings)
    epochs = max(training.length.epochs for training in trainings)
    single = max(training.figures.batch for training in trainings)
    return (early + epochs) * trainings[0].steps * single


def _trainings(prepared: Prepared, figures: Mapping[str, Figures]) -> list[float]:
    """Return the time of the training of each missing teacher that was rehearsed."""
    alone = methods.create(methods.baseline())
    times = []
    for teacher in prepared.teachers:
        name = training_of(teacher)
        if teacher.recipe is not None and name in figures:
            training = _training(prepared.data, alone, teacher.recipe, figures[name])
            times.append(training.seconds + _batches([training]))
    return times


def _row(
    prepared: Prepared, pair: str, row: str, figures: Mapping[str, Figures], seconds: float
) -> RowPrice:
    """Return the price of a row, compared with the student alone."""
    study = prepared.study
    batch_sizes = {row.name: study.recipe_of(row).batch_size for row in study.methods}

    def per_image(name: str | None) -> float:
        measured = figures.get(f"{pair} / {name}")
        return 0.0 if name is None or measured is None else measured.step / batch_sizes[name]

    alone = per_image(row_of(study, methods.baseline()))
    factor = per_image(row) / alone if alone else None
    return RowPrice(pair, row, figures[f"{pair} / {row}"], factor, seconds)
