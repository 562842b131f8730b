"""Estimates the cost of a run: counts multiply-accumulates, and extrapolates from timed batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.execution.balance import balanced, makespan
from benchmark.execution.batch_clock import BatchClock
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.rows import method_of
from benchmark.execution.steps import told
from benchmark.execution.teacher_passes import Learner, PassCounter
from benchmark.study.schema import Recipe
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.companions import TRAINING_PASSES
from methods import Method


@dataclass(frozen=True)
class Estimate:
    """The cost of a run.

    Attributes:
        tmac: Compute in 10^12 multiply-accumulates.
        alone: Compute in the same unit if every cell ran the teacher's forward passes by itself.
        seconds: Time on this machine, extrapolated.
    """

    tmac: float
    alone: float
    seconds: float


@dataclass(frozen=True)
class EstimatedCell:
    """A cell of a cohort, as far as its cost depends on it.

    Attributes:
        pair: Name of its pair.
        method: Its method.
        recipe: Its recipe.
    """

    pair: str
    method: Method
    recipe: Recipe

    @property
    def length(self) -> cost.Length:
        """Number of epochs in each stage."""
        return cost.length(self.method, self.recipe)

    @property
    def learner(self) -> Learner:
        """The cell, as far as the teacher's passes depend on it."""
        return Learner(self.pair, self.method, self.length)


def estimated(cell: Cell) -> EstimatedCell:
    """Return what the cost of a cell depends on."""
    return EstimatedCell(cell.pair.name, method_of(cell), cell.recipe)


def estimate(
    prepared: Prepared,
    cohorts: Sequence[Sequence[Cell]],
    train_teachers: Sequence[RequiredTeacher],
    say: Callable[[str], None] = lambda _: None,
    workers: int = 1,
) -> Estimate:
    """Estimate the cost of training teachers, one after another, and then cohorts.

    Args:
        prepared: The study.
        cohorts: The cohorts to train, in order.
        train_teachers: The teachers that the store lacks.
        workers: Number of cohorts that are trained at once.
        say: Receives a line from time to time if the estimate takes long.
    """
    clock = BatchClock(prepared.data, prepared.study.recipe.batch_size)
    teachers = [
        _teacher_estimate(prepared, teacher, clock)
        for teacher in told(train_teachers, say, "timing teacher {} of {}".format)
    ]
    counter = PassCounter(prepared)
    parts = [
        _cohort_estimate(prepared, cohort, counter, clock)
        for cohort in told(cohorts, say, "estimating cohort {} of {}".format)
    ]
    seconds = makespan([(part.seconds, part) for part in parts], workers)
    return Estimate(
        tmac=sum(part.tmac for part in teachers + parts),
        alone=sum(part.alone for part in teachers + parts),
        seconds=sum(part.seconds for part in teachers) + seconds,
    )


def cohorts_for(
    prepared: Prepared, cells: Sequence[Cell], size: int | None, workers: int
) -> list[list[Cell]]:
    """Divide cells into cohorts for some workers.

    Args:
        prepared: The study.
        cells: Some of its cells.
        size: Maximum number of cells per cohort; None for the size with which all workers are busy
            and as few passes of the teacher as possible are repeated.
        workers: Number of cohorts that are trained at once.
    """
    groups = prepared.cohorts(cells, size)
    if size is not None:
        return groups

    return balanced(groups, workers, lambda cohort: macs_of(prepared, cohort))


def macs_of(prepared: Prepared, cohort: Sequence[Cell]) -> float:
    """Count the multiply-accumulates of a cohort, all passes of its teacher included."""
    members = [estimated(cell) for cell in cohort]
    learners = [member.learner for member in members]
    passes = PassCounter(prepared).count(learners, members[0].recipe, cohort[0].seed)
    return cohort_macs(prepared, members, passes)[0]


def cohort_macs(
    prepared: Prepared, members: Sequence[EstimatedCell], passes: int
) -> tuple[float, float]:
    """Count the multiply-accumulates of a cohort.

    Args:
        prepared: The study.
        members: The cells; all must have the same teacher and the same batches.
        passes: The teacher's passes per image for all of them.

    Returns:
        The count with shared teacher passes, and the count if each cell were trained alone.
    """
    images = _images_per_epoch(prepared, members[0].recipe)
    teacher = prepared.macs[members[0].pair, "teacher"]

    shared = float(passes * images * teacher)
    alone = 0.0
    for member in members:
        student = prepared.macs[member.pair, "student"]
        shared += _own_macs(prepared, member)
        cached = member.recipe.teacher_cache
        alone += cost.compute(member.method, member.length, images, student, teacher, cached)
    return shared, alone


def _own_macs(prepared: Prepared, member: EstimatedCell) -> float:
    """Count a cell's multiply-accumulates, without the teacher passes that its cohort shares."""
    passes_are_shared = member.method.tapped().teacher
    teacher = 0 if passes_are_shared else prepared.macs[member.pair, "teacher"]
    student = prepared.macs[member.pair, "student"]
    images = _images_per_epoch(prepared, member.recipe)
    return cost.compute(member.method, member.length, images, student, teacher)


def _images_per_epoch(prepared: Prepared, recipe: Recipe) -> int:
    return prepared.data.steps(recipe.batch_size) * recipe.batch_size


def _teacher_estimate(prepared: Prepared, teacher: RequiredTeacher, clock: BatchClock) -> Estimate:
    recipe = teacher.recipe
    if recipe is None:
        return Estimate(0, 0, 0)

    batches = recipe.epochs * prepared.data.steps(recipe.batch_size)
    forward = prepared.macs[teacher.pairs[0], "teacher"]
    macs = TRAINING_PASSES * forward * batches * recipe.batch_size

    relative_size = recipe.batch_size / prepared.study.recipe.batch_size
    step = clock.seconds(teacher.network, forward, trains=True)
    return Estimate(macs / 1e12, macs / 1e12, step * batches * relative_size)


def _cohort_estimate(
    prepared: Prepared, cohort: Sequence[Cell], counter: PassCounter, clock: BatchClock
) -> Estimate:
    members = [estimated(cell) for cell in cohort]
    learners = [member.learner for member in members]
    passes = counter.count(learners, members[0].recipe, cohort[0].seed)
    shared, alone = cohort_macs(prepared, members, passes)

    timed_size = prepared.study.recipe.batch_size
    timed_batches = _images_per_epoch(prepared, members[0].recipe) / timed_size
    seconds = 0.0

    if passes:
        pair = members[0].pair
        network, forward = prepared.teacher_of(pair).network, prepared.macs[pair, "teacher"]
        one_pass = clock.seconds(network, forward, trains=False)
        seconds += passes * timed_batches * one_pass

    for cell, member in zip(cohort, members, strict=True):
        forward = prepared.macs[member.pair, "student"]
        macs_per_step = TRAINING_PASSES * forward * timed_size
        equivalent_steps = _own_macs(prepared, member) / macs_per_step
        seconds += equivalent_steps * clock.seconds(cell.pair.student, forward, trains=True)

    return Estimate(shared / 1e12, alone / 1e12, seconds)
