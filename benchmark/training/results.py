"""The results of a finished cell: test metrics and costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmark.measures import BY_COLUMN
from benchmark.records.seal import Finished
from benchmark.training import cost, evaluate, profiling
from benchmark.training.assembly import Assembly
from benchmark.training.checkpointing import Tally
from benchmark.training.conditions import Conditions


def measure(
    assembly: Assembly, tally: Tally, epochs: int, conditions: Conditions, folder: Path
) -> dict[str, float]:
    """Measure the quality and the costs of a trained cell.

    Args:
        assembly: The cell's parts, with the weights to evaluate.
        tally: The times recorded during the cell's training.
        epochs: Number of epochs of the main training, which a time limit may have cut.
        conditions: The conditions of the cell's training.
        folder: The cell's folder, whose journal is the evidence that unseals the test data.

    Returns:
        The values by the keys of `benchmark.measures`; only the training costs if the conditions
        exclude the test data.
    """
    metrics: dict[str, float] = {}
    if conditions.tested:
        metrics |= _quality(assembly, conditions, Finished(folder))
        metrics |= profiling.costs(assembly.model)

    return metrics | _training_costs(assembly, tally, epochs, conditions)


def _quality(assembly: Assembly, conditions: Conditions, evidence: Finished) -> dict[str, float]:
    data = conditions.data
    teacher = conditions.teacher
    images = data.test(evidence)
    logits = None if teacher is None else teacher.test_logits(data, evidence)
    return evaluate.test_metrics(assembly.model, images, logits)


def _training_costs(
    assembly: Assembly, tally: Tally, epochs: int, conditions: Conditions
) -> dict[str, float]:
    samples = conditions.samples_per_epoch
    student = assembly.student.macs()
    source = assembly.companion.source(conditions.teacher)
    teacher = 0 if source is None else source.macs()
    trained = replace(assembly.length, epochs=epochs)
    cached = assembly.recipe.teacher_cache
    macs = cost.compute(assembly.method, trained, samples, student, teacher, cached)

    costs = {
        "compute_tmac": macs / 1e12,
        "train_seconds": tally.own_seconds,
        "teacher_seconds": tally.teacher_seconds,
    }

    return {BY_COLUMN[column].key: value for column, value in costs.items()}
