"""How far a study is, from its journals; and what a run of it would do."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

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
from benchmark.records.journal import Record, read_journal


def state(folder: Path) -> RenderableType:
    """A line per teacher and cell of a study's folder."""
    plan = json.loads((folder / "plan.json").read_text())
    running = locks.running(folder)
    rows = []
    for entry in plan["teachers"]:
        rows.append(
            [
                ", ".join(entry["pairs"]),
                "teacher",
                str(entry["seed"]),
                *_state(folder, entry, running),
            ]
        )
    for entry in plan["cells"]:
        rows.append(
            [entry["pair"], entry["row"], str(entry["seed"]), *_state(folder, entry, running)]
        )
    count = len(plan["pairs"]) * len(plan["methods"]) - len(plan["not_applicable"])
    planned = count * len(plan["seeds"])
    done = sum((folder / entry["folder"] / "done.json").exists() for entry in plan["cells"])
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
        Text(f"{plan['study']}: {done} of {planned} cells done, {now}"), table("", headers, rows)
    )


def _state(folder: Path, entry: dict[str, Any], running: bool) -> list[str]:
    records = read_journal(folder / entry["folder"] / "journal.jsonl")
    epochs = [record for record in records if record["kind"] == "epoch"]
    length = entry.get("length", {"early": 0, "epochs": entry["recipe"]["epochs"]})
    early = sum(record["kind"] == "early" for record in records)
    reached = f"{early + len(epochs)}/{length['early'] + length['epochs']}"
    accuracy = epochs[-1]["metrics"].get("val/acc1") if epochs else None
    validation = "" if accuracy is None else f"{accuracy:.2f}"
    final = next((record for record in records if record["kind"] == "final"), None)
    test = f"{final['metrics']['test/acc1']:.2f}" if final else ""
    when = (
        f"{datetime.fromtimestamp(records[-1]['time'] / 1000):%Y-%m-%d %H:%M:%S}" if records else ""
    )
    return [entry["id"], _word(records, running), reached, validation, test, when]


def _word(records: list[Record], running: bool) -> str:
    kinds = {record["kind"] for record in records}
    if "final" in kinds:
        return "done"
    if records and records[-1]["kind"] == "failed":
        return f"failed: {records[-1]['reason']}"
    if not records:
        return "waiting"
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
    folder = workspace / study.name / "cells"
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
