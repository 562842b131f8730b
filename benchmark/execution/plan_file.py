"""Writes plan.json: the comparisons of a study, and the identity of each of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import methods
from benchmark.data import Data
from benchmark.execution.identities import Identified, Stale
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.rows import is_altered, method_of, row_of
from benchmark.records.layout import StudyFolder
from benchmark.study.overrides import differences
from benchmark.study.plan import (
    Plan,
    PlannedCell,
    PlannedInputs,
    PlannedPlugin,
    PlannedTeacher,
)
from benchmark.study.plan import write_plan as write_plan_file
from benchmark.study.schema import Recipe
from benchmark.study.study import Cell, Study
from benchmark.training import cost

_OPTIONAL = (
    "label_smoothing",
    "clip_norm",
    "clip_value",
    "accumulate",
    "ema",
    "max_hours",
    "teacher_cache",
)
"""Options of a recipe that plans show only if they are set."""


def write_plan(
    prepared: Prepared,
    folder: StudyFolder,
    hashes: Mapping[str, str],
    cells: Mapping[str, Identified],
    stale: Mapping[str, Stale] | None = None,
) -> None:
    """Write the plan of a study.

    Args:
        prepared: The study.
        folder: The folder to write the plan to.
        hashes: SHA-256 of the teachers' weights by key, for the teachers that are known.
        cells: The cells whose identity is known, by cell name.
        stale: The cells among them that were trained with other code and are kept nevertheless.

    Raises:
        InputError: The file cannot be written.
    """
    study = prepared.study

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
        inputs=_inputs(prepared.data),
        plugins=tuple(
            PlannedPlugin(reference, str(Path(prepared.source).absolute().parent))
            for reference in study.plugins
        ),
        overrides=_overrides(study),
        test_images=prepared.data.tested,
        fixed_views=study.recipe.teacher_cache,
        trained_on=prepared.data.trained_on,
        teachers=tuple(_planned_teacher(teacher, folder, hashes) for teacher in prepared.teachers),
        cells=tuple(
            _planned_cell(prepared, cell, cells[str(cell)].id, folder, hashes)
            for cell in prepared.cells
            if str(cell) in cells
        ),
        measures=tuple(metric.measure for metric in prepared.metrics),
        stale=_stale_rows(prepared, stale or {}),
    )
    write_plan_file(folder.plan, plan)


def _inputs(data: Data) -> PlannedInputs:
    return PlannedInputs(
        classes=data.classes,
        samples=data.samples,
        size=data.size,
        mean=tuple(data.mean),
        std=tuple(data.std),
    )


def _overrides(study: Study) -> dict[str, str]:
    """Return how the recipes of rows differ from the study's, by row; only those that do."""
    texts = {row.name: differences(study.recipe_of(row), study.recipe) for row in study.methods}
    return {name: text for name, text in texts.items() if text}


def _search_costs(study: Study) -> dict[str, float]:
    """Return the compute of each search by "pair/row", in 10^12 multiply-accumulates."""
    return {
        f"{pair}/{row.name}": tmac
        for row in study.methods
        for pair, tmac in row.search_tmac.items()
    }


def _stale_rows(prepared: Prepared, stale: Mapping[str, Stale]) -> dict[str, str]:
    """Return the changed modules of each row of a pair that has stale cells, by "pair/row"."""
    changed: dict[str, set[str]] = {}
    for cell in prepared.cells:
        if str(cell) in stale:
            modules = changed.setdefault(f"{cell.pair.name}/{cell.row.name}", set())
            modules.update(stale[str(cell)].changed)

    return {row: ", ".join(sorted(modules)) for row, modules in changed.items()}


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
        length=asdict(cost.length(method, cell.recipe)),
    )


def _main_parts(recipe: Recipe) -> dict[str, Any]:
    """Return the parts of a recipe that a reader compares first, and its optional parts."""
    optional = {name: getattr(recipe, name) for name in _OPTIONAL}
    parts = {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer.name,
        "lr": recipe.optimizer.lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "schedule": recipe.schedule.name,
        "precision": recipe.precision,
    }
    return parts | {name: value for name, value in optional.items() if value is not None}
