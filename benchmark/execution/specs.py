"""Describes cells and cohorts as plain data for executors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.execution.executors import CellSpec, CohortSpec
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.session import Session
from benchmark.plugins import loading
from benchmark.records.layout import CellFiles
from benchmark.study.schema import Dataset, FileDataset, Recipe


def cell_spec(
    session: Session, label: str, files: CellFiles, configuration: dict[str, Any]
) -> CellSpec:
    """Describe a cell.

    Args:
        session: The session.
        label: The cell's name in messages and progress events.
        files: The cell's files, in the session's workspace.
        configuration: Everything that determines the cell's results.
    """
    folder = files.path.relative_to(session.workspace.path).as_posix()
    return CellSpec(label=label, folder=folder, configuration=configuration)


def cohort_spec(
    prepared: Prepared,
    session: Session,
    teacher: RequiredTeacher | None,
    recipe: Recipe,
    seed: int,
    cells: Sequence[CellSpec],
    *,
    tested: bool = True,
) -> CohortSpec:
    """Describe a cohort.

    Args:
        prepared: The cells' study.
        session: The session.
        teacher: Teacher of all cells; None if they have none.
        recipe: A recipe that agrees in `Recipe.stream` with those of all cells.
        seed: Seed of all cells.
        cells: The cells.
        tested: Whether finished cells are evaluated on the test images.
    """
    study = prepared.study
    return CohortSpec(
        workspace=str(session.workspace.path.absolute()),
        dataset=_with_absolute_root(study.dataset),
        split=study.split,
        recipe=recipe,
        select=study.select,
        seed=seed,
        teacher=None if teacher is None else teacher.key,
        device=str(session.device),
        tested=tested,
        environment=session.environment,
        cells=tuple(cells),
        plugins=tuple(loading.loaded()),
        step_minutes=session.step_minutes,
        checkpoint_minutes=session.checkpoint_minutes,
        engine=session.engine,
    )


def _with_absolute_root(dataset: Dataset) -> Dataset:
    """Return a data set whose root doesn't depend on the working directory of a process."""
    if not isinstance(dataset, FileDataset):
        return dataset

    root = Path(dataset.root).absolute()
    return dataset.model_copy(update={"root": str(root)})
