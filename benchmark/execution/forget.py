"""Sets cells aside, so that the next run trains them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.errors import InputError, suggest
from benchmark.files import write_error
from benchmark.locks import locked
from benchmark.records.layout import StudyFolder
from benchmark.study.plan import PlannedCell, read_plan


def forget(
    folder: StudyFolder, row: str | None = None, pair: str | None = None, seed: int | None = None
) -> list[PlannedCell]:
    """Set aside the cells of a study that have started, with their journals and weights.

    Args:
        folder: Folder of the study.
        row: Name of a row; None for all rows.
        pair: Name of a pair; None for all pairs.
        seed: A seed; None for all seeds.

    Returns:
        The cells that were set aside. Rows with the same settings share cells, so other rows may be
        among them.

    Raises:
        InputError: The study has no such row, pair or seed, it is being trained, or a folder
            cannot be moved.
    """
    with locked(folder.path):
        plan = read_plan(folder.plan)
        _check("row", row, plan.methods)
        _check("pair", pair, plan.pairs)
        _check("seed", seed, plan.seeds)

        chosen = {
            cell.id
            for cell in plan.cells
            if row in (None, cell.row) and pair in (None, cell.pair) and seed in (None, cell.seed)
        }
        started = [
            cell
            for cell in plan.cells
            if cell.id in chosen and folder.files(cell.folder).path.exists()
        ]
        set_aside(folder, sorted({cell.id for cell in started}))
        return started


def set_aside(folder: StudyFolder, identities: Iterable[str]) -> None:
    """Move the folders of cells to a place where no run looks for them.

    Raises:
        InputError: A folder cannot be moved.
    """
    for identity in identities:
        target = folder.set_aside(identity).path
        try:
            target.parent.mkdir(exist_ok=True)
            folder.cell(identity).path.rename(target)
        except OSError as error:
            raise write_error(target, error) from error


def _check(kind: str, value: str | int | None, known: Sequence[str | int]) -> None:
    if value is not None and value not in known:
        hint = suggest(str(value), map(str, known))
        raise InputError(f"--{kind}: the study has no {kind} {value!r}; {hint}")
