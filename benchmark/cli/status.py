"""Tables of what is on disk: the progress of a study, the stored teachers, the plan of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark import locks
from benchmark.cli.tables import counted, table
from benchmark.execution.estimate import Estimate, estimate
from benchmark.execution.identities import identify_all
from benchmark.execution.prepare import Prepared
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.rows import row_of
from benchmark.execution.teacher_store import TeacherCard, TeacherStore
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final, Record, read_journal
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher, read_plan
from benchmark.study.study import Cell

HEADERS = (
    "pair",
    "method",
    "seed",
    "cell",
    "state",
    "epoch",
    "validation %",
    "test %",
    "last record",
)


def progress_of(folder: StudyFolder) -> RenderableType:
    """Return a headline and a table with a line per teacher and cell of a study.

    Raises:
        InputError: The plan or a journal is damaged.
    """
    plan = read_plan(folder.plan)
    running = locks.running(folder.path)

    rows = []
    for teacher in plan.teachers:
        start = [", ".join(teacher.pairs), "teacher", str(teacher.seed)]
        rows.append([*start, *_state(folder, teacher, running)])
    for cell in plan.cells:
        rows.append([cell.pair, cell.row, str(cell.seed), *_state(folder, cell, running)])

    done = sum(folder.files(cell.folder).done.exists() for cell in plan.cells)
    state = "running" if running else "not running"
    headline = f"{plan.study}: {done} of {_planned(plan)} cells done, {state}"
    return Group(Text(headline), table("", HEADERS, rows))


def _planned(plan: Plan) -> int:
    """Return the number of cells of a plan, including those whose teacher does not exist yet."""
    rows = len(plan.pairs) * len(plan.methods) - len(plan.not_applicable)
    return rows * len(plan.seeds)


def _state(folder: StudyFolder, entry: PlannedCell | PlannedTeacher, running: bool) -> list[str]:
    records = read_journal(folder.files(entry.folder).journal)
    epochs = [record for record in records if isinstance(record, Epoch)]
    finals = [record for record in records if isinstance(record, Final)]
    early = sum(isinstance(record, EarlyEpoch) for record in records)

    length = entry.length if isinstance(entry, PlannedCell) else {}
    total = sum(length.values()) if length else entry.recipe["epochs"]

    validation = epochs[-1].metrics.get("val/acc1") if epochs else None
    test = finals[0].metrics["test/acc1"] if finals else None
    return [
        entry.id,
        _word(records, running),
        f"{early + len(epochs)}/{total}",
        "" if validation is None else f"{validation:.2f}",
        "" if test is None else f"{test:.2f}",
        _moment(records[-1].time) if records else "",
    ]


def _word(records: Sequence[Record], running: bool) -> str:
    if any(isinstance(record, Final) for record in records):
        return "done"
    if not records:
        return "waiting"

    last = records[-1]
    if isinstance(last, Failed):
        return f"failed: {last.reason}"
    return "training" if running else "stopped"


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000):%Y-%m-%d %H:%M:%S}"


def teachers(store: TeacherStore) -> RenderableType:
    """Return a table with a line per stored teacher, and a line per damaged one below."""
    cards, damaged = store.cards()
    rows = []
    for card in cards:
        validation = "" if card.val_acc1 is None else f"{card.val_acc1:.2f}"
        data = f"{card.dataset.name} ({card.fingerprint[:8]})"
        accuracies = [validation, f"{card.test_acc1:.2f}"]
        rows.append([card.sha256[:12], card.network.model, data, *accuracies, card.source])

    headers = ["weights", "model", "data", "validation %", "test %", "source"]
    cards_table = table("", headers, rows)
    return Group(cards_table, Text("\n".join(damaged))) if damaged else cards_table


def plan(prepared: Prepared, workspace: Path, cohort_size: int | None) -> RenderableType:
    """Return the plan of a run: cells, cohorts, teachers and cost."""
    store = TeacherStore(Workspace(workspace))
    cards = {teacher.key: store.card(teacher.key) for teacher in prepared.teachers}
    hashes = {key: card.sha256 for key, card in cards.items() if card is not None}
    folder = Workspace(workspace).study(prepared.study.name)
    ids = {name: cell.id for name, cell in identify_all(prepared, hashes, folder).items()}

    done = {label for label, identity in ids.items() if CellFolder(folder.cell(identity).path).done}
    pending = [cell for cell in prepared.cells if str(cell) not in done]
    cohorts = prepared.cohorts(pending, cohort_size)

    rows = _plan_rows(prepared, ids, done, cohorts)
    missing = [teacher for teacher in prepared.teachers if cards[teacher.key] is None]
    lines = [
        f"{counted(len(pending), 'cell')} to train in {counted(len(cohorts), 'cohort')}, "
        f"{len(done)} done",
        *(
            f"{teacher.label}: {_teacher_state(teacher, cards[teacher.key])}"
            for teacher in prepared.teachers
        ),
        _cost(estimate(prepared, cohorts, missing)),
    ]
    if row_of(prepared.study, methods.baseline()) is None:
        lines.append(f"no row {methods.baseline()}: the leaderboard will have no gains over it")

    headers = ["pair", "method", "seed", "cell", "state"]
    return Group(table("", headers, rows), Text("\n".join(lines)))


def _plan_rows(
    prepared: Prepared,
    ids: dict[str, str],
    done: set[str],
    cohorts: Sequence[Sequence[Cell]],
) -> list[list[str]]:
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
    return rows


def _cost(cost: Estimate) -> str:
    separate = ""
    if cost.alone > cost.tmac:
        separate = f"; {cost.alone:.3g} without sharing the teacher's forward passes"

    return f"cost: {cost.tmac:.3g} TMAC{separate}; about {_duration(cost.seconds)} on this machine"


def _duration(seconds: float) -> str:
    """Return a duration with its two largest units, such as "10 h 22 min" or "45 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _teacher_state(teacher: RequiredTeacher, card: TeacherCard | None) -> str:
    if card is None:
        return "pretrained, not yet measured" if teacher.recipe is None else "will be trained"

    accuracy, samples = card.best_known
    return f"in the store, {accuracy:.2f} % {samples} accuracy"
