"""Estimates the cost of a run: counts multiply-accumulates, and extrapolates from timed batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.execution.batch_clock import BatchClock
from benchmark.execution.plan_file import method_of
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.steps import told
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


def estimate(
    prepared: Prepared,
    cohorts: Sequence[Sequence[Cell]],
    train_teachers: Sequence[RequiredTeacher],
    say: Callable[[str], None] = lambda _: None,
) -> Estimate:
    """Estimate the cost of training cohorts and teachers.

    Args:
        prepared: The study.
        cohorts: The cohorts to train.
        train_teachers: The teachers that the store lacks.
        say: Receives a line from time to time if the estimate takes long.
    """
    clock = BatchClock(prepared.data, prepared.study.recipe.batch_size)
    parts = [
        _teacher_estimate(prepared, teacher, clock)
        for teacher in told(train_teachers, say, "timing teacher {} of {}".format)
    ]
    parts += [
        _cohort_estimate(prepared, cohort, clock)
        for cohort in told(cohorts, say, "estimating cohort {} of {}".format)
    ]
    return Estimate(
        tmac=sum(part.tmac for part in parts),
        alone=sum(part.alone for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


def cohort_macs(prepared: Prepared, members: Sequence[tuple[str, Method]]) -> tuple[float, float]:
    """Count the multiply-accumulates of a cohort.

    Args:
        prepared: The study.
        members: Pair name and method of each cell; all pairs must have the same teacher.

    Returns:
        The count with shared teacher passes, and the count if each cell were trained alone.
    """
    recipe = prepared.study.recipe
    images = _images_per_epoch(prepared)
    teacher = prepared.macs[members[0][0], "teacher"]

    shared = float(
        cost.teacher_passes([method for _, method in members], recipe) * images * teacher
    )
    alone = 0.0
    for pair, method in members:
        student = prepared.macs[pair, "student"]
        shared += _own_macs(prepared, pair, method)
        alone += cost.compute(method, recipe, images, student, teacher)
    return shared, alone


def _own_macs(prepared: Prepared, pair: str, method: Method) -> float:
    """Count a cell's multiply-accumulates, without the teacher passes that its cohort shares."""
    passes_are_shared = method.tapped().teacher
    teacher = 0 if passes_are_shared else prepared.macs[pair, "teacher"]
    student = prepared.macs[pair, "student"]
    images = _images_per_epoch(prepared)
    return cost.compute(method, prepared.study.recipe, images, student, teacher)


def _images_per_epoch(prepared: Prepared) -> int:
    batch_size = prepared.study.recipe.batch_size
    return prepared.data.steps(batch_size) * batch_size


def _teacher_estimate(prepared: Prepared, teacher: RequiredTeacher, clock: BatchClock) -> Estimate:
    recipe = teacher.recipe
    if recipe is None:
        return Estimate(0, 0, 0)

    batches = recipe.epochs * prepared.data.steps(recipe.batch_size)
    forward = prepared.macs[teacher.pairs[0], "teacher"]
    macs = TRAINING_PASSES * forward * batches * recipe.batch_size

    relative_size = recipe.batch_size / prepared.study.recipe.batch_size
    step = clock.seconds(teacher.network, forward, trains=True)
    # The cohorts will need this time; the clock still holds the network.
    clock.seconds(teacher.network, forward, trains=False)
    return Estimate(macs / 1e12, macs / 1e12, step * batches * relative_size)


def _cohort_estimate(prepared: Prepared, cohort: Sequence[Cell], clock: BatchClock) -> Estimate:
    recipe = prepared.study.recipe
    steps = prepared.data.steps(recipe.batch_size)
    members = [(cell.pair.name, method_of(cell)) for cell in cohort]
    shared, alone = cohort_macs(prepared, members)

    seconds = 0.0
    teacher_epochs = cost.teacher_passes([method for _, method in members], recipe)
    if teacher_epochs:
        pair = cohort[0].pair.name
        network, forward = prepared.teacher_of(pair).network, prepared.macs[pair, "teacher"]
        one_pass = clock.seconds(network, forward, trains=False)
        seconds += teacher_epochs * steps * one_pass

    for cell, (pair, method) in zip(cohort, members, strict=True):
        forward = prepared.macs[pair, "student"]
        macs_per_step = TRAINING_PASSES * forward * recipe.batch_size
        equivalent_steps = _own_macs(prepared, pair, method) / macs_per_step
        one_step = clock.seconds(cell.pair.student, forward, trains=True)
        seconds += equivalent_steps * one_step

    return Estimate(shared / 1e12, alone / 1e12, seconds)
