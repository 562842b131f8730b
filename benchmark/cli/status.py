"""Tables of what is on disk: the progress of a study, and the stored teachers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark import locks
from benchmark.cli.tables import table
from benchmark.errors import DamageError
from benchmark.execution.teacher_store import TeacherCard, TeacherStore
from benchmark.records.integrity import read_sound_journal
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final, Record
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.study.plan import Plan, PlannedCell, PlannedTeacher, read_plan
from benchmark.wording import counted

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
        InputError: The plan is damaged.
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
    headline = f"{plan.study}: {done} of {counted(_planned(plan), 'cell')} done, {state}"
    return Group(Text(headline), table("", HEADERS, rows))


def _planned(plan: Plan) -> int:
    """Return the number of cells of a plan, including those whose teacher does not exist yet."""
    rows = len(plan.pairs) * len(plan.methods) - len(plan.not_applicable)
    return rows * len(plan.seeds)


def _state(folder: StudyFolder, entry: PlannedCell | PlannedTeacher, running: bool) -> list[str]:
    length = entry.length if isinstance(entry, PlannedCell) else {}
    total = sum(length.values()) if length else entry.recipe["epochs"]
    return [entry.id, *state_of(folder.files(entry.folder), total, running)]


def state_of(files: CellFiles, epochs: int, running: bool) -> list[str]:
    """Return the state of a cell or teacher, the texts of all `HEADERS` after `cell`.

    Args:
        files: Its files.
        epochs: Its number of training epochs, of all stages.
        running: Whether a process is training the study.

    Raises:
        InputError: The journal cannot be read.
    """
    try:
        records = read_sound_journal(files)
    except DamageError as error:
        return [f"damaged: {error}", f"?/{epochs}", "", "", ""]

    main = [record for record in records if isinstance(record, Epoch)]
    finals = [record for record in records if isinstance(record, Final)]
    early = sum(isinstance(record, EarlyEpoch) for record in records)

    validation = main[-1].metrics.get("val/acc1") if main else None
    test = finals[0].metrics["test/acc1"] if finals else None
    return [
        _word(records, running),
        f"{early + len(main)}/{epochs}",
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
        accuracies = [validation, f"{card.test_acc1:.2f}{_chosen(card)}"]
        rows.append([card.sha256[:12], card.network.model, data, *accuracies, card.source])

    headers = ["weights", "model", "data", "validation %", "test %", "source"]
    cards_table = table("", headers, rows)
    return Group(cards_table, Text("\n".join(damaged))) if damaged else cards_table


def _chosen(card: TeacherCard) -> str:
    """Return a remark if only some of the test images were used."""
    if card.test_part is None:
        return ""

    samples = card.test_part["test_samples"]
    return f" (of {samples:.0%})" if samples < 1 else f" (of {counted(int(samples), 'image')})"
