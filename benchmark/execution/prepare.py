"""Checks a study against its data and networks before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

import methods
from benchmark import seeds
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution import teachers
from benchmark.execution.teacher_store import Store
from benchmark.execution.teachers import Wanted
from benchmark.hashing import identity
from benchmark.models import create
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from benchmark.study.study import Cell, Study
from methods import Method


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

        groups = [
            list(group) for _, group in groupby(sorted(cells, key=self._order(shared)), key=shared)
        ]
        limit = size or max(1, len(cells))
        return [group[at : at + limit] for group in groups for at in range(0, len(group), limit)]

    def _order(self, shared: Any) -> Any:
        """Groups in the order in which the study first needs them."""
        first: dict[Any, int] = {}
        for cell in self.cells:
            first.setdefault(shared(cell), len(first))
        return lambda cell: first[shared(cell)]


def prepare(
    study: Study,
    text: str,
    source: str,
    device: torch.device,
    workspace: Path,
    say: Callable[[str], None],
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
            with seeds.seeded(0, "probe"):
                teacher = network_of(data, taught[pair.name], f"pairs[{place}].teacher")
                student = network_of(data, pair.student, f"pairs[{place}].student")
            macs |= {(pair.name, "teacher"): teacher.macs(), (pair.name, "student"): student.macs()}
            for row in study.methods:
                method = methods.create(row.method, **row.settings)
                size = study.recipe.batch_size
                known = probe(student, teacher, method.tapped(), data.samples, size, data.labels)
                if reason := method.supports(known):
                    not_applicable[f"{pair.name}/{row.name}"] = reason
        cells = [
            cell
            for cell in study.cells()
            if f"{cell.pair.name}/{cell.row.name}" not in not_applicable
        ]
        _refuse_twins(study)
        _tell_of_batches(study, say)
        return Prepared(study, text, data, wanted, cells, not_applicable, macs)


def load_data(
    study: Study, device: torch.device, workspace: Path, say: Callable[[str], None]
) -> Data:
    """The images of a study; decoded ones are kept in the workspace."""
    return Data(study.dataset, study.split, device, workspace / "data", say)


def _tell_of_batches(study: Study, say: Callable[[str], None]) -> None:
    """Names the rows whose published weights belong to another batch size than the recipe's."""
    size = study.recipe.batch_size
    found: dict[int, list[str]] = {}
    for row in study.methods:
        parts = methods.create(row.method, **row.settings).modules()
        for assumed in {part.assumes_batch for part in parts if isinstance(part, Method)} - {
            None,
            size,
        }:
            found.setdefault(assumed or 0, []).append(row.name)
    for assumed, rows in found.items():
        say(
            f"published weights of {', '.join(rows)} were found with batches of {assumed}, this recipe has {size}"
        )


def network_of(data: Data, network: Network, where: str) -> TappedModel:
    """A tapped network for the images of a data set."""
    return create.tapped(network, where, data.size, data.classes, data.mean, data.std)


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
