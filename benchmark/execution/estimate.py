"""Estimates the cost of a run: counts multiply-accumulates, and extrapolates from timed batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.execution.prepare import Prepared, network_of
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.rows import method_of
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Recipe
from benchmark.study.study import Cell
from benchmark.training import cost
from methods import Method, Needs

REPETITIONS = 5
"""Number of batches to time; the fastest one counts."""


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
class Trained:
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


@dataclass(frozen=True)
class BatchSeconds:
    """Time per batch, in seconds, for the networks of a pair.

    Attributes:
        teacher_pass: Time of a forward pass of the teacher.
        teacher_step: Time of a training step of the teacher.
        student_step: Time of a training step of the student.
    """

    teacher_pass: float
    teacher_step: float
    student_step: float


def estimate(
    prepared: Prepared,
    cohorts: Sequence[Sequence[Cell]],
    train_teachers: Sequence[RequiredTeacher],
) -> Estimate:
    """Estimate the cost of training cohorts and teachers.

    Args:
        prepared: The study.
        cohorts: The cohorts to train.
        train_teachers: The teachers that the store lacks.
    """
    batch_seconds = {
        pair.name: _seconds_per_batch(prepared, index)
        for index, pair in enumerate(prepared.study.pairs)
    }

    parts = [_teacher_estimate(prepared, teacher, batch_seconds) for teacher in train_teachers]
    parts += [_cohort_estimate(prepared, cohort, batch_seconds) for cohort in cohorts]
    return Estimate(
        tmac=sum(part.tmac for part in parts),
        alone=sum(part.alone for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


def cohort_macs(prepared: Prepared, members: Sequence[Trained]) -> tuple[float, float]:
    """Count the multiply-accumulates of a cohort.

    Args:
        prepared: The study.
        members: The cells; all must have the same teacher and the same batches.

    Returns:
        The count with shared teacher passes, and the count if each cell were trained alone.
    """
    images = _images_per_epoch(prepared, members[0].recipe)
    teacher = prepared.macs[members[0].pair, "teacher"]

    shared = float(_teacher_passes(members) * images * teacher)
    alone = 0.0
    for member in members:
        student = prepared.macs[member.pair, "student"]
        shared += _own_macs(prepared, member)
        alone += cost.compute(member.method, member.length, images, student, teacher)
    return shared, alone


def _teacher_passes(members: Sequence[Trained]) -> int:
    return cost.teacher_passes((member.method, member.length) for member in members)


def _own_macs(prepared: Prepared, member: Trained) -> float:
    """Count a cell's multiply-accumulates, without the teacher passes that its cohort shares."""
    passes_are_shared = member.method.tapped().teacher
    teacher = 0 if passes_are_shared else prepared.macs[member.pair, "teacher"]
    student = prepared.macs[member.pair, "student"]
    images = _images_per_epoch(prepared, member.recipe)
    return cost.compute(member.method, member.length, images, student, teacher)


def _images_per_epoch(prepared: Prepared, recipe: Recipe) -> int:
    return prepared.data.steps(recipe.batch_size) * recipe.batch_size


def _teacher_estimate(
    prepared: Prepared, teacher: RequiredTeacher, batch_seconds: dict[str, BatchSeconds]
) -> Estimate:
    recipe = teacher.recipe
    if recipe is None:
        return Estimate(0, 0, 0)

    pair = teacher.pairs[0]
    batches = recipe.epochs * prepared.data.steps(recipe.batch_size)
    macs = 3 * prepared.macs[pair, "teacher"] * batches * recipe.batch_size
    relative_size = recipe.batch_size / prepared.study.recipe.batch_size
    seconds = batch_seconds[pair].teacher_step * batches * relative_size
    return Estimate(macs / 1e12, macs / 1e12, seconds)


def _cohort_estimate(
    prepared: Prepared, cohort: Sequence[Cell], batch_seconds: dict[str, BatchSeconds]
) -> Estimate:
    members = [Trained(cell.pair.name, method_of(cell), cell.recipe) for cell in cohort]
    shared, alone = cohort_macs(prepared, members)

    timed_size = prepared.study.recipe.batch_size
    timed_batches = _images_per_epoch(prepared, members[0].recipe) / timed_size
    teacher_pass = batch_seconds[members[0].pair].teacher_pass
    seconds = _teacher_passes(members) * timed_batches * teacher_pass

    for member in members:
        training_step = 3 * prepared.macs[member.pair, "student"] * timed_size
        equivalent_steps = _own_macs(prepared, member) / training_step
        seconds += equivalent_steps * batch_seconds[member.pair].student_step

    return Estimate(shared / 1e12, alone / 1e12, seconds)


def _seconds_per_batch(prepared: Prepared, index: int) -> BatchSeconds:
    """Time a batch for each network of a pair."""
    pair, data = prepared.study.pairs[index], prepared.data
    network = prepared.teacher_of(pair.name).network
    images = torch.rand(prepared.study.recipe.batch_size, *data.size, device=data.device)

    with seeds.seeded(0, "probe"):
        teacher = network_of(data, network, f"pairs[{index}].teacher").to(data.device)
        student = network_of(data, pair.student, f"pairs[{index}].student").to(data.device)

    return BatchSeconds(
        teacher_pass=_seconds(teacher, images, trains=False),
        teacher_step=_seconds(teacher, images, trains=True),
        student_step=_seconds(student, images, trains=True),
    )


def _seconds(model: TappedModel, images: Tensor, *, trains: bool) -> float:
    """Return the time of the fastest of a few batches.

    `torch.utils.benchmark.Timer` would do the same, but warns about CUDA on machines without it.
    """
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model.train(trains)
    times: list[float] = []

    for _ in range(REPETITIONS):
        start = time.perf_counter()
        with torch.set_grad_enabled(trains):
            loss = F.cross_entropy(model(images, Needs()).logits, labels)
        if trains:
            torch.autograd.backward(loss)
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - start)

    return min(times)
