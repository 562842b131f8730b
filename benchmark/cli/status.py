"""How far a study is, from its journals; and what a run of it would do."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark import locks
from benchmark.cli.tables import table
from benchmark.execution.estimate import estimate
from benchmark.execution.plan_file import identities
from benchmark.execution.prepare import Prepared
from benchmark.execution.teacher_store import Card, Store
from benchmark.execution.teachers import Wanted
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final, Record, read_journal
from benchmark.records.layout import CellFiles, StudyFolder, Workspace
from benchmark.study.plan import PlannedCell, PlannedTeacher, read_plan


def state(folder: Path) -> RenderableType:
    """A line per teacher and cell of a study's folder."""
    plan = read_plan(StudyFolder(folder).plan)
    running = locks.running(folder)
    rows = []
    for teacher in plan.teachers:
        rows.append(
            [
                ", ".join(teacher.pairs),
                "teacher",
                str(teacher.seed),
                *_state(folder, teacher, running),
            ]
        )
    for entry in plan.cells:
        rows.append([entry.pair, entry.row, str(entry.seed), *_state(folder, entry, running)])
    count = len(plan.pairs) * len(plan.methods) - len(plan.not_applicable)
    planned = count * len(plan.seeds)
    done = sum(CellFiles(folder / entry.folder).done.exists() for entry in plan.cells)
    headers = [
        "pair",
        "method",
        "seed",
        "cell",
        "state",
        "epoch",
        "validation %",
        "test %",
        "last record",
    ]
    now = "running" if running else "not running"
    return Group(
        Text(f"{plan.study}: {done} of {planned} cells done, {now}"), table("", headers, rows)
    )


def _state(folder: Path, entry: PlannedCell | PlannedTeacher, running: bool) -> list[str]:
    records = read_journal(CellFiles(folder / entry.folder).journal)
    epochs = [record for record in records if isinstance(record, Epoch)]
    early = sum(isinstance(record, EarlyEpoch) for record in records)
    length = entry.length if isinstance(entry, PlannedCell) else {}
    total = sum(length.values()) if length else entry.recipe["epochs"]

    accuracy = epochs[-1].metrics.get("val/acc1") if epochs else None
    validation = "" if accuracy is None else f"{accuracy:.2f}"
    finals = [record for record in records if isinstance(record, Final)]
    test = f"{finals[0].metrics['test/acc1']:.2f}" if finals else ""
    when = ""
    if records:
        when = f"{datetime.fromtimestamp(records[-1].time / 1000):%Y-%m-%d %H:%M:%S}"

    reached = f"{early + len(epochs)}/{total}"
    return [entry.id, _word(records, running), reached, validation, test, when]


def _word(records: list[Record], running: bool) -> str:
    if any(isinstance(record, Final) for record in records):
        return "done"
    if not records:
        return "waiting"
    last = records[-1]
    if isinstance(last, Failed):
        return f"failed: {last.reason}"
    return "training" if running else "stopped"


def teachers(store: Store) -> RenderableType:
    """A line per stored teacher."""
    rows = []
    cards, damaged = store.cards()
    for card in cards:
        validation = f"{card['val/acc1']:.2f}" if "val/acc1" in card else ""
        network, data = card["network"], f"{card['dataset']['name']} ({card['fingerprint'][:8]})"
        accuracies = [validation, f"{card['test/acc1']:.2f}"]
        rows.append([card["sha256"][:12], network["model"], data, *accuracies, card["source"]])
    found = table("", ["weights", "model", "data", "validation %", "test %", "source"], rows)
    return Group(found, Text("\n".join(damaged))) if damaged else found


def plan(prepared: Prepared, workspace: Path, cohort_size: int | None) -> RenderableType:
    """The cells, cohorts and cost of a run; identities of cells whose teacher is known."""
    study, store = prepared.study, Store(workspace)
    cards = {want.key: store.card(want.key) for want in prepared.wanted}
    ids = identities(
        prepared, {key: card["sha256"] for key, card in cards.items() if card is not None}
    )
    folder = Workspace(workspace).study(study.name).cells
    done = {label for label, name in ids.items() if CellFolder(folder / name).done}
    pending = [cell for cell in prepared.cells if str(cell) not in done]
    cohorts = prepared.cohorts(pending, cohort_size)
    place = {
        str(cell): str(number) for number, cohort in enumerate(cohorts, start=1) for cell in cohort
    }
    rows = []
    for cell in study.cells():
        label, pair = str(cell), f"{cell.pair.name}/{cell.row.name}"
        what = (
            f"not applicable: {prepared.not_applicable[pair]}"
            if pair in prepared.not_applicable
            else ""
        )
        what = what or ("done" if label in done else f"cohort {place[label]}")
        rows.append(
            [
                cell.pair.name,
                cell.row.name,
                str(cell.seed),
                ids.get(label, "after its teacher"),
                what,
            ]
        )
    missing = [want for want in prepared.wanted if cards[want.key] is None]
    lines = [f"{len(pending)} cells to train in {len(cohorts)} cohorts, {len(done)} done"]
    lines += [f"{want.label}: {_teacher(want, cards[want.key])}" for want in prepared.wanted]
    cost = estimate(prepared, cohorts, missing)
    spared = (
        f"; {cost.alone:.3g} without sharing the teacher's passes" if cost.alone > cost.tmac else ""
    )
    time = timedelta(seconds=round(cost.seconds))
    lines.append(f"cost: {cost.tmac:.3g} x 10^12 multiply-accumulates{spared}; about {time} here")
    return Group(
        table("", ["pair", "method", "seed", "cell", "plan"], rows), Text("\n".join(lines))
    )


def _teacher(want: Wanted, card: Card | None) -> str:
    if card is None:
        return (
            "its pretrained weights will be measured" if want.recipe is None else "will be trained"
        )
    images = "validation" if "val/acc1" in card else "test"
    return f"in the store, {card.get('val/acc1', card['test/acc1']):.2f} % on the {images} images"
