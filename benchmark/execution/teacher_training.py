"""Trains a teacher, which is a cohort of one cell without a teacher."""

from __future__ import annotations

import shutil

from benchmark import seeds
from benchmark.errors import InputError
from benchmark.execution.executors import Resources
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.session import Session
from benchmark.execution.specs import cell_spec, cohort_spec
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import Failed
from benchmark.records.layout import CellFiles
from benchmark.study.schema import Recipe


class UntrainedTeacherError(InputError):
    """The training of a teacher failed, as that of any network can."""


def train(
    required: RequiredTeacher,
    recipe: Recipe,
    record: CellFiles,
    prepared: Prepared,
    session: Session,
) -> None:
    """Train a teacher with the session's executor, unless it is trained already.

    Args:
        required: The teacher.
        recipe: Its recipe.
        record: Folder of the training, in the study's own folder.
        prepared: The study.
        session: The session.

    Raises:
        UntrainedTeacherError: The training failed.
        InputError: A file cannot be read or written.
    """
    folder = CellFolder(record.path)
    if folder.done and not record.weights.exists():
        shutil.rmtree(record.path)
    if folder.done:
        return

    cell = cell_spec(session, required.label, record, required.configuration)
    seed = seeds.derive(required.pair.teacher.seed, "teacher")
    spec = cohort_spec(prepared, session, None, recipe, seed, [cell])
    session.executor.run([spec], Resources(prepared.data, {}), session.progress)

    if not folder.done:
        failure = folder.journal().last(Failed)
        reason = "" if failure is None else failure.reason
        model_name = required.network.model
        raise UntrainedTeacherError(
            f"{required.location}: {model_name} could not be trained: {reason}"
        )
