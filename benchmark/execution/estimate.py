"""What a run will cost: multiply-accumulates counted, seconds measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark import seeds
from benchmark.execution.plan_file import method_of
from benchmark.execution.prepare import Prepared, network_of
from benchmark.execution.teachers import Wanted
from benchmark.models.tapped import TappedModel
from benchmark.study.study import Cell
from benchmark.training import cost
from methods import Needs


@dataclass(frozen=True)
class Estimate:
    """What a plan costs.  tmac: multiply-accumulates in 10^12; alone: the same without sharing teacher passes."""

    tmac: float
    alone: float
    seconds: float


def estimate(
    prepared: Prepared, cohorts: Sequence[Sequence[Cell]], train_teachers: Sequence[Wanted]
) -> Estimate:
    """Counts the work of some cohorts and teachers, and measures one batch of each network to tell the time."""
    data, study = prepared.data, prepared.study
    timed = {
        pair.name: _seconds_per_batch(prepared, place) for place, pair in enumerate(study.pairs)
    }
    tmac = alone = seconds = 0.0
    for want in train_teachers:
        if want.recipe is None:
            continue
        batches = want.recipe.epochs * data.steps(want.recipe.batch_size)
        passes = 3 * prepared.macs[want.pairs[0], "teacher"] * batches * want.recipe.batch_size
        tmac, alone = tmac + passes, alone + passes
        share = want.recipe.batch_size / study.recipe.batch_size
        seconds += timed[want.pairs[0]]["teacher trains"] * batches * share
    steps = data.steps(study.recipe.batch_size)
    images = steps * study.recipe.batch_size
    for cohort in cohorts:
        pair = cohort[0].pair.name
        look = prepared.macs[pair, "teacher"]
        for cell in cohort:
            method, student = method_of(cell), prepared.macs[cell.pair.name, "student"]
            whole = cost.compute(method, study.recipe, images, student, look)
            own = (
                cost.compute(method, study.recipe, images, student, 0)
                if method.tapped().teacher
                else whole
            )
            tmac, alone = tmac + own, alone + whole
            seconds += (
                own / (3 * student * images) * steps * timed[cell.pair.name]["student trains"]
            )
        looks = cost.teacher_passes(map(method_of, cohort), study.recipe)
        tmac += looks * images * look
        seconds += looks * steps * timed[pair]["teacher looks"]
    return Estimate(tmac / 1e12, alone / 1e12, seconds)


def _seconds_per_batch(prepared: Prepared, place: int) -> dict[str, float]:
    pair, data = prepared.study.pairs[place], prepared.data
    taught = next(want.network for want in prepared.wanted if pair.name in want.pairs)
    images = torch.rand(prepared.study.recipe.batch_size, *data.size, device=data.device)
    with seeds.seeded(0, "probe"):
        teacher = network_of(data, taught, f"pairs[{place}].teacher").to(data.device)
        student = network_of(data, pair.student, f"pairs[{place}].student").to(data.device)
    return {
        "teacher looks": _timed(teacher, images, learns=False),
        "teacher trains": _timed(teacher, images, learns=True),
        "student trains": _timed(student, images, learns=True),
    }


def _timed(model: TappedModel, images: Tensor, learns: bool, repetitions: int = 5) -> float:
    """Seconds for one batch, the best of a few."""
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model.train(learns)
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        with torch.set_grad_enabled(learns):
            loss = F.cross_entropy(model(images, Needs()).logits, labels)
        if learns:
            torch.autograd.backward(loss)
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - started)
    return min(times)
