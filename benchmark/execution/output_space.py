"""The space on the disk that the stored outputs of teachers take."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import InputError
from benchmark.execution.output_folder import output_folder
from benchmark.execution.rows import method_of
from benchmark.execution.teacher_passes import OutputsKey, outputs_key, taps_read
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.stored_taps import stored_bytes, view_folder

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared
    from benchmark.execution.session import Session


def report_space(prepared: Prepared, say: Callable[[str], None]) -> None:
    """Report how much space the outputs of the teachers take, if a recipe asks to store them.

    Args:
        prepared: The study.
        say: Receives a line.
    """
    first_seed = [cell for cell in prepared.cells if cell.seed == prepared.study.seeds[0]]
    sizes = [
        size
        for group in _groups(prepared, first_seed)
        for size in group.sizes(prepared.data.samples).values()
    ]
    if sizes:
        say(
            f"recipe.teacher_cache: the outputs of the teachers take {_shown(sum(sizes))} on "
            "the disk for each seed"
        )


def check_space(
    prepared: Prepared, cells: Iterable[Cell], hashes: Mapping[str, str], session: Session
) -> None:
    """Check that the disk has space for all outputs that cells will read and that are not stored.

    Args:
        prepared: The study.
        cells: The cells that will be trained.
        hashes: SHA-256 of the weights of their teachers, by key.
        session: The session.

    Raises:
        InputError: There is too little space.
    """
    missing = 0
    for group in _groups(prepared, cells):
        folder = _folder(prepared, group.first, hashes, session)
        sizes = group.sizes(prepared.data.samples)
        missing += sum(size for tap, size in sizes.items() if not (folder / tap).exists())
    _require(missing, session)


def check_space_of_untrained(prepared: Prepared, cells: Iterable[Cell], session: Session) -> None:
    """Check that the disk has space for the outputs of those teachers that the store lacks.

    So no teacher is trained whose outputs then cannot be stored.

    Args:
        prepared: The study.
        cells: The cells that will be trained.
        session: The session.

    Raises:
        InputError: There is too little space.
    """
    stored = {
        name
        for teacher in prepared.teachers
        if session.store.files(teacher.key).card.exists()
        for name in teacher.pairs
    }
    groups = _groups(prepared, [cell for cell in cells if cell.pair.name not in stored])
    samples = prepared.data.samples
    _require(sum(sum(group.sizes(samples).values()) for group in groups), session)


def _require(missing: int, session: Session) -> None:
    """Check that the disk has this number of bytes."""
    place = session.workspace.path
    free = free_space(place)
    if missing > free:
        raise InputError(
            f"recipe.teacher_cache: the outputs of the teachers need another {_shown(missing)} "
            f"in {place}, but only {_shown(free)} is free; free some disk space, or remove "
            "teacher_cache"
        )


def free_space(folder: Path) -> int:
    """Return the free space of the disk that a folder is on, in bytes."""
    return shutil.disk_usage(folder).free


def _shown(count: int) -> str:
    """Return a number of bytes with a unit, such as "1.2 GiB"."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


@dataclass
class _Group:
    """Cells that read the same stored outputs.

    Attributes:
        first: One of them.
        taps: The shapes of the taps that they read, by the folder of a tap among the outputs.
    """

    first: Cell
    taps: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def sizes(self, samples: int) -> dict[str, int]:
        """Return the size of each tap in bytes, by its folder."""
        return {folder: stored_bytes(samples, shape) for folder, shape in self.taps.items()}


def _groups(prepared: Prepared, cells: Iterable[Cell]) -> Sequence[_Group]:
    """Return the cells that read stored outputs, in groups that read the same."""
    groups: dict[OutputsKey, _Group] = {}
    for cell in cells:
        recipe = cell.recipe
        if recipe.teacher_cache is None:
            continue

        pair, method = cell.pair.name, method_of(cell)
        taps = taps_read(prepared, pair, method)
        group = groups.setdefault(outputs_key(prepared, pair, recipe, cell.seed), _Group(cell))
        for view in cost.stored_views(method, cost.length(method, recipe), recipe.teacher_cache):
            group.taps |= {f"{view_folder(view)}/{name}": shape for name, shape in taps.items()}
    return [group for group in groups.values() if group.taps]


def _folder(prepared: Prepared, cell: Cell, hashes: Mapping[str, str], session: Session) -> Path:
    """Return the folder of the outputs that a cell reads."""
    teacher = prepared.teacher_of(cell.pair.name)
    return output_folder(
        session.workspace,
        prepared.data,
        teacher.network,
        hashes[teacher.key],
        cell.recipe,
        cell.seed,
        session.environment,
    )
