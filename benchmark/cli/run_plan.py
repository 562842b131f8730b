"""The plan of a run, for `kdbench run --dry-run`: cells, cohorts, teachers and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark.cli.tables import table
from benchmark.execution.estimate import Estimate, cohorts_for, estimate
from benchmark.execution.identities import identify_all
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.rows import row_of
from benchmark.execution.teacher_store import TeacherCard, TeacherStore
from benchmark.records.checkpoints import CellFolder
from benchmark.records.layout import Workspace
from benchmark.study.study import Cell
from benchmark.wording import counted, duration

MOST_LISTED = 100
"""Maximum number of cells that a plan lists; a longer plan is summarized by pair."""


def plan(
    prepared: Prepared,
    workspace: Path,
    cohort_size: int | None,
    say: Callable[[str], None] = lambda _: None,
    workers: int = 1,
) -> RenderableType:
    """Return the plan of a run: cells, cohorts, teachers and cost.

    A plan of more than `MOST_LISTED` cells has their numbers for each pair instead of a line per
    cell.

    Args:
        prepared: The study.
        workspace: The workspace.
        cohort_size: Maximum number of cells per cohort; None for the best size.
        say: Receives a line from time to time if the estimate of the cost takes long.
        workers: Number of cohorts that are trained at once.
    """
    cards = stored_cards(prepared, Workspace(workspace))
    hashes = {key: card.sha256 for key, card in cards.items() if card is not None}
    folder = Workspace(workspace).study(prepared.study.name)
    ids = {name: cell.id for name, cell in identify_all(prepared, hashes, folder).items()}
    done = {label for label, identity in ids.items() if CellFolder(folder.cell(identity).path).done}
    pending = [cell for cell in prepared.cells if str(cell) not in done]
    cohorts = cohorts_for(prepared, pending, cohort_size, workers)

    if len(prepared.study.cells()) > MOST_LISTED:
        shown = _plan_counts(prepared, done, cohorts)
    else:
        shown = _plan_cells(prepared, ids, done, cohorts)
    missing = [teacher for teacher in prepared.teachers if cards[teacher.key] is None]
    lines = [
        f"{counted(len(pending), 'cell')} to train in {counted(len(cohorts), 'cohort')}, "
        f"{len(done)} done",
        *teacher_lines(prepared, cards),
        cost_line(estimate(prepared, cohorts, missing, say, workers), workers),
    ]
    if row_of(prepared.study, methods.baseline()) is None:
        lines.append(f"no row {methods.baseline()}: the leaderboard will have no gains over it")

    return Group(shown, Text("\n".join(lines)))


def _plan_counts(
    prepared: Prepared, done: set[str], cohorts: Sequence[Sequence[Cell]]
) -> RenderableType:
    """Return a line per pair with the number of its cells in each state.

    Below the table, each reason why methods are not applicable has a line.
    """
    cells = Counter(cell.pair.name for cell in prepared.study.cells())
    applicable = Counter(cell.pair.name for cell in prepared.cells)
    finished = Counter(cell.pair.name for cell in prepared.cells if str(cell) in done)
    in_cohorts = Counter(name for cohort in cohorts for name in {cell.pair.name for cell in cohort})

    rows = []
    for pair in cells:
        pending = applicable[pair] - finished[pair]
        counts = (
            cells[pair],
            finished[pair],
            pending,
            in_cohorts[pair],
            cells[pair] - applicable[pair],
        )
        rows.append([pair, *map(str, counts)])

    headers = ["pair", "cells", "done", "to train", "cohorts", "not applicable"]
    return Group(table("", headers, rows), *map(Text, _inapplicable(prepared)))


def _inapplicable(prepared: Prepared) -> list[str]:
    """Return a line for each reason why rows are not applicable, with their names and pairs."""
    rows_of: dict[str, list[str]] = {}
    pairs_of: dict[str, list[str]] = {}
    for name, reason in prepared.not_applicable.items():
        pair, _, row = name.partition("/")
        rows_of.setdefault(reason, []).append(row)
        pairs_of.setdefault(reason, []).append(pair)

    return [
        f"not applicable: {', '.join(dict.fromkeys(rows))} "
        f"({counted(len(set(pairs_of[reason])), 'pair')}): {reason}"
        for reason, rows in rows_of.items()
    ]


def _plan_cells(
    prepared: Prepared,
    ids: dict[str, str],
    done: set[str],
    cohorts: Sequence[Sequence[Cell]],
) -> RenderableType:
    """Return a line per cell of the study, with the number of its cohort."""
    number_of_cohort = {
        str(cell): number for number, cohort in enumerate(cohorts, start=1) for cell in cohort
    }
    rows = []
    for cell in prepared.study.cells():
        label = str(cell)
        reason = prepared.not_applicable.get(f"{cell.pair.name}/{cell.row.name}")
        if reason is not None:
            state = f"not applicable: {reason}"
        elif label in done:
            state = "done"
        else:
            state = f"cohort {number_of_cohort[label]}"

        identity = ids.get(label, "waits for its teacher")
        rows.append([cell.pair.name, cell.row.name, str(cell.seed), identity, state])

    return table("", ["pair", "method", "seed", "cell", "state"], rows)


def stored_cards(prepared: Prepared, workspace: Workspace) -> dict[str, TeacherCard | None]:
    """Return the card of each required teacher by key; None for those that are not stored."""
    store = TeacherStore(workspace)
    return {teacher.key: store.card(teacher.key) for teacher in prepared.teachers}


def teacher_lines(prepared: Prepared, cards: Mapping[str, TeacherCard | None]) -> list[str]:
    """Return a line per required teacher that tells where it comes from."""
    return [
        f"{teacher.label}: {_teacher_state(teacher, cards[teacher.key])}"
        for teacher in prepared.teachers
    ]


def cost_line(cost: Estimate, workers: int) -> str:
    """Return compute and time as a line of text.

    Args:
        cost: The cost.
        workers: Number of cohorts that are trained at once.
    """
    separate = ""
    if cost.alone > cost.tmac:
        separate = f"; {_shown(cost.alone)} without sharing the teacher's forward passes"

    by = f" with {workers} workers" if workers > 1 else ""
    time = f"about {duration(cost.seconds)} on this machine{by}"
    return f"cost: {_shown(cost.tmac)} TMAC{separate}; {time}"


def _shown(tmac: float) -> str:
    return f"{tmac:,.0f}" if tmac >= 1000 else f"{tmac:.3g}"


def _teacher_state(teacher: RequiredTeacher, card: TeacherCard | None) -> str:
    if card is None:
        return "pretrained, not yet measured" if teacher.recipe is None else "will be trained"

    accuracy, samples = card.best_known
    return f"in the store, {accuracy:.2f} % on the {samples} images"
