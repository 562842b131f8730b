"""Measures finished networks by the metrics of plug-ins.

This happens after training, from stored weights: a new or edited metric trains nothing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.code import Code, code_of
from benchmark.execution.executors import CohortSpec, Resources
from benchmark.execution.prepare import Prepared
from benchmark.execution.worker import conditions_of, task_of
from benchmark.plugins.kinds import Metric
from benchmark.records.checkpoints import CellFolder
from benchmark.records.done import read_done
from benchmark.records.journal import Measured
from benchmark.records.layout import StudyFolder
from benchmark.records.seal import Finished
from benchmark.training import evaluate, own_metrics
from benchmark.training.assembly import assemble


def measure_students(
    specs: Iterable[CohortSpec], resources: Resources, metrics: Sequence[Metric]
) -> None:
    """Measure the finished cells of cohorts that lack a value of the present code of a metric.

    Args:
        specs: The cohorts.
        resources: Their data and teachers.
        metrics: The metrics.

    Raises:
        InputError: A metric fails, or weights are missing or damaged.
    """
    code = _code_of(metrics)
    for spec in specs:
        for cell in spec.cells:
            folder = CellFolder(Path(spec.workspace) / cell.folder)
            if not folder.done or _is_measured(folder, code):
                continue

            conditions = conditions_of(spec, resources)
            parts = assemble(task_of(spec, cell), conditions)
            parts.load_weights(folder.read_weights(read_done(folder.files.done).sha256))

            evidence = Finished(folder.path)
            inputs = resources.data.test(evidence)
            assert conditions.teacher is not None
            teacher = conditions.teacher.test_logits(resources.data, evidence)
            logits = evaluate.predict(parts.model, inputs)
            values = own_metrics.compute(metrics, logits, inputs.labels, teacher)
            folder.journal().append(Measured(metrics=values, code=code))


def measure_teachers(
    prepared: Prepared, resources: Resources, folder: StudyFolder, metrics: Sequence[Metric]
) -> None:
    """Measure the teachers of a study, in the study's own records of them.

    Args:
        prepared: The study.
        resources: Its data and teachers.
        folder: Folder of the study.
        metrics: The metrics.

    Raises:
        InputError: A metric fails.
    """
    code = _code_of(metrics)
    for required in prepared.teachers:
        record = CellFolder(folder.teacher(required.key).path)
        if _is_measured(record, code):
            continue

        evidence = Finished(record.path)
        logits = resources.teachers[required.key].test_logits(prepared.data, evidence)
        labels = prepared.data.test(evidence).labels
        values = own_metrics.compute(metrics, logits, labels, None)
        record.journal().append(Measured(metrics=values, code=code))


def _code_of(metrics: Sequence[Metric]) -> dict[str, Code]:
    return {metric.measure.key: code_of(metric.compute) for metric in metrics}


def _is_measured(folder: CellFolder, code: dict[str, Code]) -> bool:
    """Return whether a finished network has values of exactly these metrics."""
    measured = folder.journal().last(Measured)
    return code == ({} if measured is None else measured.code)
