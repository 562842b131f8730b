"""The identity of each cell, and cells that were trained with other code.

A cell's identity is the hash of its configuration, including digests of the code that decides its
results. Cells from versions of kdbench that recorded no code keep their identities: the code of the
first later run is recorded beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.code import Code, changed_modules
from benchmark.execution.cell_code import code_of_cell
from benchmark.execution.prepare import Prepared
from benchmark.execution.recorded_code import CODE, read_code
from benchmark.execution.rows import method_of
from benchmark.files import read_json
from benchmark.hashing import canonical, identity
from benchmark.records.journal import read_journal
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.study.study import Cell

if TYPE_CHECKING:
    from benchmark.execution.outline import Outline


@dataclass(frozen=True)
class Identified:
    """A cell whose identity is known.

    Attributes:
        id: Its identity, the name of its folder.
        configuration: Everything that determines its results.
        code: The code that it is or will be trained with.
    """

    id: str
    configuration: dict[str, Any]
    code: Code


@dataclass(frozen=True)
class Stale:
    """A finished cell that was trained with other code.

    Attributes:
        cell: The finished cell.
        changed: The modules that have changed since it was trained.
    """

    cell: Identified
    changed: tuple[str, ...]


def identify_all(
    prepared: Prepared | Outline, hashes: Mapping[str, str], folder: StudyFolder
) -> dict[str, Identified]:
    """Identify all cells of a study whose teacher is known.

    Args:
        prepared: The study.
        hashes: SHA-256 of the teachers' weights by key.
        folder: Folder of the study.

    Returns:
        The identified cells, by cell name.
    """
    return {
        str(cell): identify(*plain_configuration(prepared, cell, hashes), folder)
        for cell in prepared.cells
        if prepared.teacher_of(cell.pair.name).key in hashes
    }


def plain_configuration(
    prepared: Prepared | Outline, cell: Cell, hashes: Mapping[str, str]
) -> tuple[dict[str, Any], Code]:
    """Return the configuration of a cell without its code, and the code.

    Args:
        prepared: The cell's study.
        cell: The cell.
        hashes: SHA-256 of the teachers' weights by key.
    """
    teacher = prepared.teacher_of(cell.pair.name)
    configuration = cell.configuration(
        prepared.data.fingerprint,
        {**teacher.network.identity, "sha256": hashes[teacher.key]},
        method_of(cell).settings,
    )
    return configuration, code_of_cell(cell, teacher.network)


def identify(plain: dict[str, Any], code: Code, folder: StudyFolder) -> Identified:
    """Identify a cell, whose folder may have been made by a version that recorded no code.

    Args:
        plain: The configuration without the code.
        code: The code.
        folder: Folder of the study.
    """
    configuration = {**plain, CODE: code}
    current = Identified(identity(configuration), configuration, code)
    if os.path.exists(folder.cell(current.id).config):
        return current

    earlier = Identified(identity(plain), plain, code)
    files = folder.cell(earlier.id)
    if os.path.exists(files.config) and read_code(files) in (None, code):
        return earlier
    return current


def find_stale(cells: Mapping[str, Identified], folder: StudyFolder) -> dict[str, Stale]:
    """Find the finished cells of a study that were trained with other code.

    Args:
        cells: The identified cells, by cell name.
        folder: Folder of the study.

    Returns:
        For each unfinished cell that was finished with other code: the newest such training.
    """
    unfinished = {
        name: cell for name, cell in cells.items() if not os.path.exists(folder.cell(cell.id).done)
    }
    if not unfinished:
        return {}

    earlier: dict[str, list[Identified]] = {}
    for cell in _finished_cells(folder):
        earlier.setdefault(_without_code(cell.configuration), []).append(cell)

    stale = {}
    for name, cell in unfinished.items():
        others = earlier.get(_without_code(cell.configuration), [])
        candidates = [other for other in others if other.code != cell.code]
        if candidates:
            newest = max(candidates, key=lambda other: _finished_at(folder.cell(other.id)))
            stale[name] = Stale(newest, changed_modules(newest.code, cell.code))
    return stale


def _finished_cells(folder: StudyFolder) -> Iterator[Identified]:
    """Yield all finished cells on disk whose code is known."""
    for path in sorted(folder.cells.glob("*/")):
        files = CellFiles(path)
        if not (os.path.exists(files.done) and os.path.exists(files.config)):
            continue

        configuration = read_json(
            files.config, "data", "teacher", remedy="delete the folder to train the cell again"
        )
        code = configuration.get(CODE, read_code(files))
        if code is not None:
            yield Identified(path.name, configuration, code)


def _without_code(configuration: Mapping[str, Any]) -> str:
    """Return a text that is equal for configurations that differ only because of code.

    Another code of a plug-in's network or data source gives other weights and other data.
    """
    plain = {key: value for key, value in configuration.items() if key != CODE}
    teacher = {key: value for key, value in plain["teacher"].items() if key != "sha256"}
    data = {key: value for key, value in plain["data"].items() if key != "fingerprint"}
    return canonical({**plain, "teacher": teacher, "data": data})


def _finished_at(files: CellFiles) -> int:
    """Return the time of the last record of a finished cell."""
    records = read_journal(files.journal)
    return records[-1].time if records else 0
