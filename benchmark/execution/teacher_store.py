"""The teachers of a workspace: each has a folder, `teachers/<key>/`, with weights, card and record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.records.checkpoints import CellFolder, Tensors
from benchmark.records.journal import Epoch, read_journal
from benchmark.records.layout import CellFiles, Workspace

RECORDS = ("config.json", "journal.jsonl", "done.json")

CARD = {"key", "sha256", "network", "classes", "dataset", "fingerprint", "source", "test/acc1"}
"""What every card tells; of a training here `recipe` as well, and `val/acc1` if it had validation images."""

Card = dict[str, Any]


class Store:
    """Finds, takes over and lends stored teachers."""

    def __init__(self, workspace: Path):
        self.folder = Workspace(workspace).teachers

    def card(self, key: str) -> Card | None:
        """What is known of a teacher. None if it is not in the store; InputError if its card is damaged."""
        path = self.folder / key / "card.json"
        if not path.exists():
            return None
        try:
            card: Card = json.loads(path.read_text())
            if not isinstance(card, dict) or not card.keys() >= CARD:
                raise ValueError("not a teacher's card")
        except ValueError as error:
            hint = f"delete the folder {path.parent} to train or import this teacher again"
            raise InputError(f"{path}: damaged ({error}); {hint}") from error
        return card

    def cards(self) -> tuple[list[Card], list[str]]:
        """All cards, by key; and a line for each that is damaged."""
        cards, damaged = [], []
        for path in sorted(self.folder.glob("*/card.json")):
            if path.parent.name.startswith("."):
                continue
            try:
                card = self.card(path.parent.name)
            except InputError as error:
                damaged.append(str(error))
            else:
                cards += [card] if card is not None else []
        return cards, damaged

    def find(self, digits: str, where: str) -> Card:
        """The teacher whose weights' SHA-256 begins so. Raises InputError, naming `where`, if it is not just one."""
        found = [card for card in self.cards()[0] if card["sha256"].startswith(digits)]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(card["key"] for card in found)
            raise InputError(
                f"{where}: {digits} begins the weights of several teachers ({several}); give more digits"
            )
        raise InputError(
            f"{where}: no teacher in {self.folder} has weights {digits}; `kdbench teachers list` shows those there "
            "are, `kdbench teachers import` brings others"
        )

    def weights(self, card: Card) -> Tensors:
        """A teacher's state dict. Raises InputError if the file is missing or is not the one that was measured."""
        return CellFolder(self.folder / card["key"]).read_tensors(
            "student.safetensors", card["sha256"]
        )

    def publish(self, record: CellFolder, card: Card) -> None:
        """Takes over a finished record and its weights: the whole folder appears at once.

        card: all but what the record itself tells, its accuracies and the hash of its weights.
        """
        files = CellFiles(record.path)
        done = json.loads(files.done.read_text())
        journal = read_journal(files.journal)
        chosen = [r.metrics for r in journal if isinstance(r, Epoch) and r.epoch == done["epoch"]]
        accuracies = {
            name: metrics[name] for metrics in chosen for name in ("val/acc1",) if name in metrics
        }
        accuracies["test/acc1"] = done["metrics"]["test/acc1"]
        new = self.folder / f".{card['key']}.part"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name in (*RECORDS, "student.safetensors"):
            shutil.copyfile(record.path / name, new / name)
        write_json(new / "card.json", {**card, "sha256": done["sha256"], **accuracies})
        shutil.rmtree(self.folder / card["key"], ignore_errors=True)
        new.rename(self.folder / card["key"])

    def lend_record(self, key: str, record: Path) -> None:
        """Puts the record of a stored teacher beside a study's own, so that it can be tracked with them."""
        if (record / "done.json").exists():
            return
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        for name in RECORDS:
            shutil.copyfile(self.folder / key / name, record / name)
