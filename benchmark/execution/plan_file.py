"""Writes plan.json: the comparisons of a study, and the identity of each of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import methods
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.hashing import identity
from benchmark.records.layout import StudyFolder
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher
from benchmark.study.plan import write_plan as write_plan_file
from benchmark.study.schema import Recipe, Row
from benchmark.study.study import Cell, Study
from benchmark.training import cost
from methods import Method

if TYPE_CHECKING:
    from benchmark.execution.outline import Outline


def write_plan(
    prepared: Prepared, folder: StudyFolder, hashes: Mapping[str, str]
) -> dict[str, str]:
    """Write the plan of a study.

    Args:
        prepared: The study.
        folder: The folder to write the plan to.
        hashes: SHA-256 of the teachers' weights by key, for the teachers that are known.

    Returns:
        Identities by cell name, for the cells whose teacher is known.

    Raises:
        InputError: The file cannot be written.
    """
    study = prepared.study
    ids = identities(prepared, hashes)

    plan = Plan(
        study=study.name,
        question=study.question,
        experiment=study.experiment,
        datasets={pair.name: study.dataset.name for pair in study.pairs},
        classes={pair.name: prepared.data.classes for pair in study.pairs},
        select=study.select,
        protocol="legacy" if study.split.legacy else "validated",
        baseline=row_of(study, methods.baseline()),
        reference=row_of(study, methods.reference()),
        pairs=tuple(pair.name for pair in study.pairs),
        methods=tuple(row.name for row in study.methods),
        seeds=tuple(study.seeds),
        not_applicable=prepared.not_applicable,
        trials={row.name: row.trials for row in study.methods if row.trials},
        search_tmac=_search_costs(study),
        altered=tuple(row.name for row in study.methods if is_altered(row)),
        teachers=tuple(_planned_teacher(teacher, folder, hashes) for teacher in prepared.teachers),
        cells=tuple(
            _planned_cell(prepared, cell, ids[str(cell)], folder, hashes)
            for cell in prepared.cells
            if str(cell) in ids
        ),
    )
    write_plan_file(folder.plan, plan)
    return ids


def identities(prepared: Prepared | Outline, hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the identities of all cells whose teacher is known.

    Args:
        prepared: The study.
        hashes: SHA-256 of the teachers' weights by key.

    Returns:
        Identities by cell name.
    """
    return {
        str(cell): identity(configuration(prepared, cell, hashes))
        for cell in prepared.cells
        if prepared.teacher_of(cell.pair.name).key in hashes
    }


def configuration(
    prepared: Prepared | Outline, cell: Cell, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that determines a cell's results.

    Args:
        prepared: The cell's study.
        cell: The cell.
        hashes: SHA-256 of the teachers' weights by key.
    """
    teacher = prepared.teacher_of(cell.pair.name)
    return cell.configuration(
        prepared.data.fingerprint,
        {**teacher.network.identity, "sha256": hashes[teacher.key]},
        method_of(cell).settings,
    )


def method_of(cell: Cell) -> Method:
    """Create the method of a cell, with the cell's settings."""
    return methods.create(cell.row.method, **cell.settings)


def is_altered(row: Row) -> bool:
    """Return whether a row differs from the method of the same name with its published settings.

    Settings that a search chose don't count as a difference.
    """
    settings = methods.create(row.method, **row.settings).settings
    return row.name != row.method or settings != methods.create(row.method).settings


def row_of(study: Study, method: str) -> str | None:
    """Return the name of the study's first row with a method, if there is one."""
    return next((row.name for row in study.methods if row.method == method), None)


def _search_costs(study: Study) -> dict[str, float]:
    """Return the compute of each search by "pair/row", in 10^12 multiply-accumulates."""
    return {
        f"{pair}/{row.name}": tmac
        for row in study.methods
        for pair, tmac in row.search_tmac.items()
    }


def _planned_teacher(
    teacher: RequiredTeacher, folder: StudyFolder, hashes: Mapping[str, str]
) -> PlannedTeacher:
    recipe = teacher.recipe
    return PlannedTeacher(
        id=teacher.key,
        folder=folder.relative(folder.teacher(teacher.key)),
        pairs=teacher.pairs,
        model=teacher.network.model,
        teacher_id=hashes.get(teacher.key, "")[:12],
        seed=teacher.pair.teacher.seed,
        recipe={"epochs": 0} if recipe is None else _main_parts(recipe),
    )


def _planned_cell(
    prepared: Prepared, cell: Cell, cell_id: str, folder: StudyFolder, hashes: Mapping[str, str]
) -> PlannedCell:
    method = method_of(cell)
    teacher = prepared.teacher_of(cell.pair.name)
    return PlannedCell(
        id=cell_id,
        folder=folder.relative(folder.cell(cell_id)),
        pair=cell.pair.name,
        row=cell.row.name,
        method=cell.row.method,
        settings=method.settings,
        seed=cell.seed,
        teacher=cell.pair.teacher.model,
        teacher_id=hashes[teacher.key][:12],
        student=cell.pair.student.model,
        recipe=_main_parts(cell.recipe),
        length=asdict(cost.length(method, prepared.study.recipe)),
    )


def _main_parts(recipe: Recipe) -> dict[str, Any]:
    """Return the parts of a recipe that a reader compares first."""
    return {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer.name,
        "lr": recipe.optimizer.lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "schedule": recipe.schedule.name,
        "precision": recipe.precision,
    }
