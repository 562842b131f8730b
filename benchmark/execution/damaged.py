"""Finds damage to the cells of a study before it is run: heals it, or sets the cell aside.

Finished cells whose files have kept their sizes and times since they were last found intact are not
read again. `kdbench verify` reads everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from benchmark.errors import DamageError, InputError
from benchmark.files import write_json
from benchmark.records.checkpoints import CellFolder
from benchmark.records.healing import heal
from benchmark.records.integrity import check_cell
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.records.reading import read_error
from benchmark.study.plan import read_plan

State = dict[str, list[int]]
"""Size and times of each file of a finished cell, by name."""


def repair(folder: StudyFolder, say: Callable[[str], None]) -> dict[str, str]:
    """Check all cells and records of teachers of a study, or of its searches.

    What the other files prove is healed. Other damaged cells are set aside, so that they are
    trained again. The caller holds the lock of the folder.

    Args:
        folder: Folder of the study, or of its searches.
        say: Receives a line for each cell that was healed or set aside.

    Returns:
        Why a cell must be left alone, by identity: it cannot be read, or comes from a later version
        of kdbench.

    Raises:
        InputError: A file cannot be written.
    """
    names = _names(folder)
    known = _read_known(folder)
    intact: dict[str, State] = {}
    left_alone: dict[str, str] = {}

    for files, weights in _all(folder):
        name = files.path.name
        try:
            state = _state(files)
            if not state or known.get(name) != state:
                _repair_cell(files, weights, names.get(name, name), say)
                state = _state(files)
        except InputError as error:
            left_alone[name] = str(error)
            continue
        except OSError as error:
            left_alone[name] = str(read_error(files.path, error))
            continue
        if state:
            intact[name] = state

    if intact != known:
        write_json(folder.intact, intact)
    return left_alone


def _all(folder: StudyFolder) -> list[tuple[CellFiles, bool]]:
    """Return the files of all cells and teachers, and whether finished ones have weights."""
    cells = [(files, True) for files in folder.cells_on_disk()]
    return cells + [(files, False) for files in folder.teachers_on_disk()]


def _repair_cell(files: CellFiles, weights: bool, name: str, say: Callable[[str], None]) -> None:
    """Heal a cell, or set it aside."""
    for mended in heal(files, weights=weights):
        say(f"{name}: {mended}")

    try:
        check_cell(files, weights=weights)
    except DamageError as error:
        place = CellFolder(files.path).set_aside()
        again = "it is trained again" if weights else "its record is made again"
        say(f"{name}: {error.problem}; set aside in {place.parent.name}/{place.name}, {again}")


def _state(files: CellFiles) -> State:
    """Return the state of the files of a finished cell; empty if it is not finished."""
    if not files.done.exists():
        return {}

    state = {}
    for path in (files.config, files.code, files.journal, files.done, files.weights):
        if path.exists():
            stat = path.stat()
            state[path.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    return state


def _read_known(folder: StudyFolder) -> Mapping[str, Any]:
    """Return the states that the last run noted; none if the file is missing or damaged."""
    try:
        content = json.loads(folder.intact.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(folder: StudyFolder) -> dict[str, str]:
    """Return the names of the cells and teachers of the last plan, by identity."""
    try:
        plan = read_plan(folder.plan)
    except InputError:
        return {}

    cells = {cell.id: f"{cell.pair} / {cell.row} / seed {cell.seed}" for cell in plan.cells}
    return cells | {teacher.id: f"teacher {teacher.model}" for teacher in plan.teachers}
