"""Where a study's cells are trained: the plan, its cohorts, and one process that works them off.

A workspace is a folder with one folder per study (journals, plan) and the teachers that they share. Running a study
again trains what is not done; nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import methods
from benchmark import models, streams, teachers, work
from benchmark.cohort import train
from benchmark.conditions import Conditions, Progress, Task, Teacher, probe
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.files import write_atomically, write_json
from benchmark.identity import identity
from benchmark.journal import CellFolder
from benchmark.locks import locked
from benchmark.models import TappedModel
from benchmark.schema import Network, Recipe, Row
from benchmark.store import Store
from benchmark.study import Cell, Study
from benchmark.teachers import Wanted
from methods import Method, Needs


@dataclass(frozen=True)
class Prepared:
    """A study that was checked against its data and networks, before anything is trained or written.

    cells: those that can run, in the order of the study. not_applicable: "pair/row" -> why the others cannot.
    macs: of one forward pass per network, by (pair, "teacher" or "student").
    """

    study: Study
    text: str
    data: Data
    wanted: list[Wanted]
    cells: list[Cell]
    not_applicable: dict[str, str]
    macs: dict[tuple[str, str], int]

    def teacher_of(self, cell: Cell) -> Wanted:
        """The teacher of a cell."""
        return next(one for one in self.wanted if cell.pair.name in one.pairs)

    def cohorts(self, cells: Sequence[Cell], size: int | None) -> list[list[Cell]]:
        """Cells that share teacher and seed (data and recipe are the study's), at most `size` together."""

        def shared(cell: Cell) -> tuple[int, str]:
            return cell.seed, self.teacher_of(cell).key

        groups = [list(group) for _, group in groupby(sorted(cells, key=self._order(shared)), key=shared)]
        limit = size or max(1, len(cells))
        return [group[at : at + limit] for group in groups for at in range(0, len(group), limit)]

    def _order(self, shared: Any) -> Any:
        """Groups in the order in which the study first needs them."""
        first: dict[Any, int] = {}
        for cell in self.cells:
            first.setdefault(shared(cell), len(first))
        return lambda cell: first[shared(cell)]


@dataclass
class Summary:
    """What a run did.  failed: label -> reason."""

    planned: int
    trained: int = 0
    already_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    study: Study, text: str, source: str, device: torch.device, workspace: Path, say: Callable[[str], None]
) -> Prepared:
    """Loads the data and builds every network once.

    text: of the study's file. source: its name, for messages. workspace: has the decoded data and the teachers. say:
    is told, in a line, what takes time or was mended. Raises InputError, naming file and key, for whatever the study
    asks that cannot be.
    """
    with named(source):
        data = load_data(study, device, workspace, say)
        data.steps(study.recipe.batch_size)
        macs: dict[tuple[str, str], int] = {}
        not_applicable: dict[str, str] = {}
        wanted = teachers.wanted(study, data, Store(workspace))
        taught = {name: want.network for want in wanted for name in want.pairs}
        for place, pair in enumerate(study.pairs):
            data.steps((pair.teacher.recipe or study.recipe).batch_size)
            with streams.seeded(0, "probe"):
                teacher = _network(data, taught[pair.name], f"pairs[{place}].teacher")
                student = _network(data, pair.student, f"pairs[{place}].student")
            macs |= {(pair.name, "teacher"): teacher.macs(), (pair.name, "student"): student.macs()}
            for row in study.methods:
                method = methods.create(row.method, **row.settings)
                size = study.recipe.batch_size
                known = probe(student, teacher, method.tapped(), data.samples, size, data.labels)
                if reason := method.supports(known):
                    not_applicable[f"{pair.name}/{row.name}"] = reason
        cells = [cell for cell in study.cells() if f"{cell.pair.name}/{cell.row.name}" not in not_applicable]
        _refuse_twins(study)
        _tell_of_batches(study, say)
        return Prepared(study, text, data, wanted, cells, not_applicable, macs)


def load_data(study: Study, device: torch.device, workspace: Path, say: Callable[[str], None]) -> Data:
    """The images of a study; decoded ones are kept in the workspace."""
    return Data(study.dataset, study.split, device, workspace / "data", say)


def _tell_of_batches(study: Study, say: Callable[[str], None]) -> None:
    """Names the rows whose published weights belong to another batch size than the recipe's."""
    size = study.recipe.batch_size
    found: dict[int, list[str]] = {}
    for row in study.methods:
        parts = methods.create(row.method, **row.settings).modules()
        for assumed in {part.assumes_batch for part in parts if isinstance(part, Method)} - {None, size}:
            found.setdefault(assumed or 0, []).append(row.name)
    for assumed, rows in found.items():
        say(f"published weights of {', '.join(rows)} were found with batches of {assumed}, this recipe has {size}")


def _network(data: Data, network: Network, where: str) -> TappedModel:
    return models.tapped(network, where, data.size, data.classes, data.mean, data.std)


def _refuse_twins(study: Study) -> None:
    """Two rows, or two pairs, that would train the very same thing are a slip of the pen."""
    for what, entries in (
        (
            "methods",
            [
                (row.name, [row.method, methods.create(row.method, **row.settings).settings])
                for row in study.methods
                if not row.found  # a search may find what was published
            ],
        ),
        ("pairs", [(pair.name, pair.model_dump(exclude={"name"})) for pair in study.pairs]),
    ):
        seen: dict[str, str] = {}
        for name, content in entries:
            before = seen.setdefault(identity(content), name)
            if before != name:
                raise InputError(f"{what}: {before!r} and {name!r} are the same; leave one out")


@contextmanager
def named(source: str) -> Iterator[None]:
    """Puts the study's file in front of what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def run(
    prepared: Prepared,
    workspace: Path,
    source: str,
    environment: dict[str, str],
    progress: Progress,
    cohort_size: int | None = None,
) -> Summary:
    """Trains all that is not done. Raises InputError if another process is at it, or a teacher is below its gate."""
    study, data = prepared.study, prepared.data
    folder = workspace / study.name
    with locked(folder):
        lent = lend(prepared, workspace, folder, source, environment, progress)
        hashes = {key: teacher.sha256 for key, teacher in lent.items()}
        ids = _write_plan(prepared, folder, hashes)
        places = {str(cell): CellFolder(folder / "cells" / ids[str(cell)]) for cell in prepared.cells}
        summary = Summary(planned=len(prepared.cells))
        pending = [cell for cell in prepared.cells if not places[str(cell)].done]
        summary.already_done = summary.planned - len(pending)
        progress.planned({str(cell): work.length(_method(cell), study.recipe).total for cell in pending})
        # What a search found may be what was published: two rows of the table, one cell on disk.
        distinct = list({ids[str(cell)]: cell for cell in reversed(pending)}.values())[::-1]
        for cohort in prepared.cohorts(distinct, cohort_size):
            want = prepared.teacher_of(cohort[0])
            conditions = Conditions(data, study.recipe, cohort[0].seed, study.select, lent[want.key], environment)
            tasks = [
                task(cell, places[str(cell)], configuration(prepared, cell, hashes), want.network) for cell in cohort
            ]
            train(tasks, conditions, progress)
        for cell in pending:
            if places[str(cell)].done:
                summary.trained += 1
            else:
                failure = places[str(cell)].journal().last("failed")
                summary.failed[str(cell)] = "not trained" if failure is None else failure["reason"]
        return summary


def obtain_teachers(
    prepared: Prepared, workspace: Path, source: str, environment: dict[str, str], progress: Progress
) -> None:
    """Trains or fetches the teachers of a study that the store lacks, and no student."""
    folder = workspace / prepared.study.name
    with locked(folder):
        lend(prepared, workspace, folder, source, environment, progress)


def lend(
    prepared: Prepared, workspace: Path, folder: Path, source: str, environment: dict[str, str], progress: Progress
) -> dict[str, Teacher]:
    """All teachers of a study, by key, measured; the folder then tells what its journals belong to."""
    data, store = prepared.data, Store(workspace)
    write_atomically(folder / "study.yaml", prepared.text.encode())
    write_json(folder / "split.json", {"dataset": data.name, "fingerprint": data.fingerprint, **data.split_record()})
    _write_plan(prepared, folder, {})
    lent = {}
    with named(source):
        for want in prepared.wanted:
            record = folder / "teachers" / want.key
            lent[want.key] = teachers.obtain(want, store, record, data, environment, progress)
    return lent


def identities(prepared: Prepared, hashes: dict[str, str]) -> dict[str, str]:
    """Cell's name -> identity, for every cell whose teacher's SHA-256 is in `hashes`, by the teacher's key."""
    known = [cell for cell in prepared.cells if prepared.teacher_of(cell).key in hashes]
    return {str(cell): identity(configuration(prepared, cell, hashes)) for cell in known}


def configuration(prepared: Prepared, cell: Cell, hashes: dict[str, str]) -> dict[str, Any]:
    """All that decides a cell's numbers.  hashes: SHA-256 of the teachers by key."""
    settings = _method(cell).settings
    want = prepared.teacher_of(cell)
    teacher = {**want.network.identity, "sha256": hashes[want.key]}
    return cell.configuration(prepared.data.fingerprint, teacher, settings)


def task(
    cell: Cell, folder: CellFolder, configuration: dict[str, Any], teacher: Network, label: str | None = None
) -> Task:
    """A cell as the engine trains it.  teacher: the pair's, as a network. label: its name for people."""
    settings, name = configuration["method"]["settings"], label or str(cell)
    return Task(folder, name, configuration, cell.pair.student, cell.row.method, settings, teacher, cell.recipe)


def _method(cell: Cell) -> Method:
    return methods.create(cell.row.method, **cell.settings)


def _altered(row: Row) -> bool:
    """Whether a study makes a row other than the method of its name with published settings; searches do not count."""
    settings = methods.create(row.method, **row.settings).settings
    return row.name != row.method or settings != methods.create(row.method).settings


def _write_plan(prepared: Prepared, folder: Path, hashes: dict[str, str]) -> dict[str, str]:
    """Writes what the folder's journals belong to, with the cells whose identity is known; returns those."""
    study, ids = prepared.study, identities(prepared, hashes)
    baseline = next((row.name for row in study.methods if row.method == methods.baseline()), None)
    plan = {
        "study": study.name,
        "question": study.question,
        "experiment": study.experiment,
        "dataset": study.dataset.name,
        "select": study.select,
        "protocol": "legacy" if study.split.legacy else "validated",
        "baseline": baseline,
        "pairs": [pair.name for pair in study.pairs],
        "methods": [row.name for row in study.methods],
        "seeds": study.seeds,
        "not_applicable": prepared.not_applicable,
        "trials": {row.name: row.trials for row in study.methods if row.trials},
        "search_tmac": {f"{pair}/{row.name}": tmac for row in study.methods for pair, tmac in row.search_tmac.items()},
        "altered": [row.name for row in study.methods if _altered(row)],
        "teachers": [
            {
                "id": want.key,
                "folder": f"teachers/{want.key}",
                "pairs": list(want.pairs),
                "model": want.network.model,
                "teacher_id": hashes.get(want.key, "")[:12],
                "seed": want.pair.teacher.seed,
                "recipe": {"epochs": 0} if want.recipe is None else _flat(want.recipe),
            }
            for want in prepared.wanted
        ],
        "cells": [
            {
                "id": ids[str(cell)],
                "folder": f"cells/{ids[str(cell)]}",
                "pair": cell.pair.name,
                "row": cell.row.name,
                "method": cell.row.method,
                "settings": _method(cell).settings,
                "seed": cell.seed,
                "teacher": cell.pair.teacher.model,
                "teacher_id": hashes[prepared.teacher_of(cell).key][:12],
                "student": cell.pair.student.model,
                "recipe": _flat(cell.recipe),
                "length": asdict(work.length(_method(cell), study.recipe)),
            }
            for cell in prepared.cells
            if str(cell) in ids
        ],
    }
    write_json(folder / "plan.json", plan)
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


@dataclass(frozen=True)
class Estimate:
    """What a plan costs.  tmac: multiply-accumulates in 10^12; alone: the same without sharing teacher passes."""

    tmac: float
    alone: float
    seconds: float


def estimate(prepared: Prepared, cohorts: Sequence[Sequence[Cell]], train_teachers: Sequence[Wanted]) -> Estimate:
    """Counts the work of some cohorts and teachers, and measures one batch of each network to tell the time."""
    data, study = prepared.data, prepared.study
    timed = {pair.name: _seconds_per_batch(prepared, place) for place, pair in enumerate(study.pairs)}
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
            method, student = _method(cell), prepared.macs[cell.pair.name, "student"]
            whole = work.compute(method, study.recipe, images, student, look)
            own = work.compute(method, study.recipe, images, student, 0) if method.tapped().teacher else whole
            tmac, alone = tmac + own, alone + whole
            seconds += own / (3 * student * images) * steps * timed[cell.pair.name]["student trains"]
        looks = work.looks(map(_method, cohort), study.recipe)
        tmac += looks * images * look
        seconds += looks * steps * timed[pair]["teacher looks"]
    return Estimate(tmac / 1e12, alone / 1e12, seconds)


def _seconds_per_batch(prepared: Prepared, place: int) -> dict[str, float]:
    pair, data = prepared.study.pairs[place], prepared.data
    taught = next(want.network for want in prepared.wanted if pair.name in want.pairs)
    images = torch.rand(prepared.study.recipe.batch_size, *data.size, device=data.device)
    with streams.seeded(0, "probe"):
        teacher = _network(data, taught, f"pairs[{place}].teacher").to(data.device)
        student = _network(data, pair.student, f"pairs[{place}].student").to(data.device)
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
