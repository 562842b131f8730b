"""plan.json: what the journals of a study belong to, and the identity of each cell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import methods
from benchmark.execution.prepare import Prepared
from benchmark.hashing import identity
from benchmark.records.checkpoints import CellFolder
from benchmark.records.layout import StudyFolder
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher
from benchmark.study.plan import write_plan as write_plan_file
from benchmark.study.schema import Network, Recipe, Row
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.conditions import Task
from methods import Method


def identities(prepared: Prepared, hashes: dict[str, str]) -> dict[str, str]:
    """Cell's name -> identity, for every cell whose teacher's SHA-256 is in `hashes`, by the teacher's key."""
    known = [cell for cell in prepared.cells if prepared.teacher_of(cell).key in hashes]
    return {str(cell): identity(configuration(prepared, cell, hashes)) for cell in known}


def configuration(prepared: Prepared, cell: Cell, hashes: dict[str, str]) -> dict[str, Any]:
    """All that decides a cell's numbers.  hashes: SHA-256 of the teachers by key."""
    settings = method_of(cell).settings
    want = prepared.teacher_of(cell)
    teacher = {**want.network.identity, "sha256": hashes[want.key]}
    return cell.configuration(prepared.data.fingerprint, teacher, settings)


def task(
    cell: Cell,
    folder: CellFolder,
    configuration: dict[str, Any],
    teacher: Network,
    label: str | None = None,
) -> Task:
    """A cell as the engine trains it.  teacher: the pair's, as a network. label: its name for people."""
    settings, name = configuration["method"]["settings"], label or str(cell)
    return Task(
        folder,
        name,
        configuration,
        cell.pair.student,
        cell.row.method,
        settings,
        teacher,
        cell.recipe,
    )


def method_of(cell: Cell) -> Method:
    """The method of a cell, with its settings."""
    return methods.create(cell.row.method, **cell.settings)


def _altered(row: Row) -> bool:
    """Whether a study makes a row other than the method of its name with published settings; searches do not count."""
    settings = methods.create(row.method, **row.settings).settings
    return row.name != row.method or settings != methods.create(row.method).settings


def write_plan(prepared: Prepared, folder: Path, hashes: dict[str, str]) -> dict[str, str]:
    """Writes what the folder's journals belong to, with the cells whose identity is known; returns those."""
    study, ids = prepared.study, identities(prepared, hashes)
    baseline = next((row.name for row in study.methods if row.method == methods.baseline()), None)
    places = StudyFolder(folder)
    plan = Plan(
        study=study.name,
        question=study.question,
        experiment=study.experiment,
        datasets=dict.fromkeys((pair.name for pair in study.pairs), study.dataset.name),
        select=study.select,
        protocol="legacy" if study.split.legacy else "validated",
        baseline=baseline,
        reference="kd",
        pairs=tuple(pair.name for pair in study.pairs),
        methods=tuple(row.name for row in study.methods),
        seeds=tuple(study.seeds),
        not_applicable=prepared.not_applicable,
        trials={row.name: row.trials for row in study.methods if row.trials},
        search_tmac={
            f"{pair}/{row.name}": tmac
            for row in study.methods
            for pair, tmac in row.search_tmac.items()
        },
        altered=tuple(row.name for row in study.methods if _altered(row)),
        teachers=tuple(
            PlannedTeacher(
                id=want.key,
                folder=places.relative(places.teacher(want.key)),
                pairs=want.pairs,
                model=want.network.model,
                teacher_id=hashes.get(want.key, "")[:12],
                seed=want.pair.teacher.seed,
                recipe={"epochs": 0} if want.recipe is None else _flat(want.recipe),
            )
            for want in prepared.wanted
        ),
        cells=tuple(
            PlannedCell(
                id=ids[str(cell)],
                folder=places.relative(places.cell(ids[str(cell)])),
                pair=cell.pair.name,
                row=cell.row.name,
                method=cell.row.method,
                settings=method_of(cell).settings,
                seed=cell.seed,
                teacher=cell.pair.teacher.model,
                teacher_id=hashes[prepared.teacher_of(cell).key][:12],
                student=cell.pair.student.model,
                recipe=_flat(cell.recipe),
                length=asdict(cost.length(method_of(cell), study.recipe)),
            )
            for cell in prepared.cells
            if str(cell) in ids
        ),
    )
    write_plan_file(places.plan, plan)
    return ids


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The parts of a recipe that a reader compares first."""
    return {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer.name,
        "lr": recipe.optimizer.lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "schedule": recipe.schedule.name,
        "precision": recipe.precision,
    }
