"""The progress of a study file: every cell that it asks for now, whatever the last run planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark import locks
from benchmark.cli.status import HEADERS, state_of
from benchmark.cli.tables import table
from benchmark.errors import InputError
from benchmark.execution.outline import Outline, outline
from benchmark.execution.rows import method_of
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.search import tuned
from benchmark.study.plan import Plan, read_plan
from benchmark.study.study import Cell, Study, load
from benchmark.training import cost
from benchmark.wording import counted

PLANNED = "planned"
"""State of a cell whose identity is not known yet, because its data or teacher is not."""

NOT_APPLICABLE = "not applicable"


@dataclass
class _Known:
    """What the workspace knows about a study.

    Attributes:
        outline: The study's data and teachers; None as long as they are not known.
        ids: Identities by cell name, where known.
        notes: Lines for the user.
        reasons: Why a method cannot run on a pair, by "pair/row".
    """

    outline: Outline | None = None
    ids: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def progress_of_file(study: Study, file: Path, workspace: Workspace) -> RenderableType:
    """Return the number of cells in each state, and a table with a line per teacher and cell.

    No images of files are decoded: a cell is found by its identity if the workspace knows the data
    set and the teacher's weights, and is `planned` otherwise.

    Args:
        study: The study.
        file: The study's file.
        workspace: The workspace.

    Raises:
        InputError: The plan of the last run or a journal is damaged.
    """
    folder = workspace.study(study.name)
    before = read_plan(folder.plan) if folder.plan.exists() else None
    running = before is not None and locks.running(folder.path)

    known = _Known()
    study = _with_tuned_rows(study, file, before, known)
    try:
        known.outline = outline(study, workspace)
        known.ids = known.outline.identities(folder)
    except InputError as error:
        known.notes.append(f"cells are not known yet: {error}")
    if before is None:
        known.notes.append(f"the study has not been run in {workspace.path}")
    else:
        _compare(study, file, folder, before, known)

    cells = [_line(cell, known, folder, running) for cell in study.cells()]
    rows = [*_teachers(known, folder, running), *cells]
    headline = _headline(study, cells, running)
    return Group(*map(Text, [*headline, *known.notes]), table("", HEADERS, rows))


def _with_tuned_rows(study: Study, file: Path, before: Plan | None, known: _Known) -> Study:
    """Add the tuned rows if the last run had some."""
    if before is None or not before.trials:
        return study
    try:
        return tuned.with_tuned_rows(study, tuned.settings_file(file))
    except InputError as error:
        known.notes.append(f"without tuned rows: {error}")
        return study


def _compare(study: Study, file: Path, folder: StudyFolder, before: Plan, known: _Known) -> None:
    """Tell how the file differs from the last run, and take over what the run found."""
    last_ids = {cell.id for cell in before.cells}
    gone = last_ids - set(known.ids.values())

    if not folder.study_file.exists() or folder.study_file.read_bytes() != file.read_bytes():
        line = f"{file} has changed since the last run"
        if known.ids and gone:
            line += f"; {counted(len(gone), 'cell')} of that run {_is(len(gone))} not in it"
        known.notes.append(line)

    known.reasons = _reasons(study, folder, before)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _reasons(study: Study, folder: StudyFolder, before: Plan) -> dict[str, str]:
    """Return why methods cannot run, as far as the last run checked the same pairs and rows."""
    try:
        last = load(folder.study_file, methods)
    except InputError:
        return {}

    pairs = [pair.name for pair in study.pairs if pair in last.pairs]
    rows = {row.name: row for row in study.methods if not row.found}
    same = [name for name, row in rows.items() if row in last.methods]
    return {
        f"{pair}/{row}": reason
        for pair in pairs
        for row in same
        if (reason := before.why_not(pair, row)) is not None
    }


def _teachers(known: _Known, folder: StudyFolder, running: bool) -> list[list[str]]:
    if known.outline is None:
        return []

    rows = []
    for teacher in known.outline.teachers:
        epochs = 0 if teacher.recipe is None else teacher.recipe.epochs
        start = [", ".join(teacher.pairs), "teacher", str(teacher.pair.teacher.seed), teacher.key]
        rows.append([*start, *state_of(folder.teacher(teacher.key), epochs, running)])
    return rows


def _line(cell: Cell, known: _Known, folder: StudyFolder, running: bool) -> list[str]:
    identity = known.ids.get(str(cell), "")
    epochs = cost.length(method_of(cell), cell.recipe).total
    state = [PLANNED, f"0/{epochs}", "", "", ""]
    if identity:
        state = state_of(folder.cell(identity), epochs, running)
    if f"{cell.pair.name}/{cell.row.name}" in known.reasons:
        state = [NOT_APPLICABLE, "", "", "", ""]
    return [cell.pair.name, cell.row.name, str(cell.seed), identity, *state]


def _headline(study: Study, rows: Sequence[Sequence[str]], running: bool) -> list[str]:
    """Return the number of finished cells, and the numbers of cells in the other states."""
    states = Counter(row[HEADERS.index("state")].partition(":")[0] for row in rows)
    inapplicable = states.pop(NOT_APPLICABLE, 0)
    done = states.pop("done", 0)

    state = "running" if running else "not running"
    lines = [f"{study.name}: {done} of {counted(len(rows) - inapplicable, 'cell')} done, {state}"]
    others = {
        "running": states["training"],
        "failed": states["failed"],
        "damaged": states["damaged"],
        "stopped": states["stopped"],
        "not started": states["waiting"],
        PLANNED: states[PLANNED],
        NOT_APPLICABLE: inapplicable,
    }
    if any(others.values()):
        lines.append(", ".join(f"{count} {name}" for name, count in others.items() if count))
    return lines
