"""Teachers: trained once by the same engine, stored by the hash of how, taught from by many studies.

The store is a folder per teacher, `teachers/<key>/` in the workspace: weights, card, and the record of the training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import methods
from benchmark import RULES, models, streams
from benchmark.cohort import Conditions, Progress, Task, Teacher, train
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.journal import CellFolder, Tensors, read_journal, write_json
from benchmark.study import Pair, Recipe, Study, identity

RECORDS = ("config.json", "journal.jsonl", "done.json")


@dataclass(frozen=True)
class Wanted:
    """A teacher that a study needs.

    where: its first place in the study. pairs: the names of all that share it. gate: the place of the strictest
    `min_accuracy` among them.
    """

    configuration: dict[str, Any]
    pair: Pair
    where: str
    pairs: tuple[str, ...]
    recipe: Recipe
    min_accuracy: float | None
    gate: str

    @property
    def key(self) -> str:
        """The identity of its training."""
        return identity(self.configuration)

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"teacher {self.pair.teacher.model}"


def wanted(study: Study, fingerprint: str) -> list[Wanted]:
    """The teachers of a study, each once, in the order of its pairs."""
    found: dict[str, Wanted] = {}
    for place, pair in enumerate(study.pairs):
        one = _wanted(study, place, pair, fingerprint)
        before = found.get(one.key)
        if before is not None:
            strict = max(before, one, key=lambda want: -1.0 if want.min_accuracy is None else want.min_accuracy)
            pairs = (*before.pairs, pair.name)
            one = replace(before, pairs=pairs, min_accuracy=strict.min_accuracy, gate=strict.gate)
        found[one.key] = one
    return list(found.values())


def _wanted(study: Study, place: int, pair: Pair, fingerprint: str) -> Wanted:
    teacher = pair.teacher
    recipe = teacher.recipe or study.recipe
    alone = methods.baseline()
    configuration = {
        "rules": RULES,
        "role": "teacher",
        "data": study.data(fingerprint),
        "student": {"model": teacher.model, "kwargs": teacher.kwargs},
        "method": {"name": alone, "settings": methods.create(alone).settings},
        "recipe": recipe.identity,
        "select": study.select,
        "seed": teacher.seed,
    }
    where = f"pairs[{place}].teacher"
    return Wanted(configuration, pair, where, (pair.name,), recipe, teacher.min_accuracy, f"{where}.min_accuracy")


class Store:
    """The teachers of a workspace."""

    def __init__(self, workspace: Path):
        self.folder = workspace / "teachers"

    def card(self, key: str) -> dict[str, Any] | None:
        """What is known of a teacher: its hash, accuracies and configuration. None if it is not in the store."""
        path = self.folder / key / "card.json"
        if not path.exists():
            return None
        try:
            card: dict[str, Any] = json.loads(path.read_text())
            if not isinstance(card, dict) or not {"sha256", "val/acc1"} <= card.keys():
                raise ValueError("not a teacher's card")
        except ValueError as error:
            hint = f"delete the folder {path.parent} to train this teacher again"
            raise InputError(f"{path}: damaged ({error}); {hint}") from error
        return card

    def weights(self, key: str, sha256: str) -> Tensors:
        """A teacher's state dict. Raises InputError if the file is missing or is not the one that was measured."""
        return CellFolder(self.folder / key).read_tensors("student.safetensors", sha256)

    def publish(self, key: str, record: CellFolder) -> None:
        """Takes over a finished training: the whole folder appears at once, its card last."""
        done = json.loads((record.path / "done.json").read_text())
        journal = read_journal(record.path / "journal.jsonl")
        epoch = next(r["metrics"] for r in journal if r["kind"] == "epoch" and r["epoch"] == done["epoch"])
        new = self.folder / f".{key}.part"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name in (*RECORDS, "student.safetensors"):
            shutil.copyfile(record.path / name, new / name)
        accuracies = {"val/acc1": epoch["val/acc1"], "test/acc1": done["metrics"]["test/acc1"]}
        write_json(new / "card.json", {"key": key, "sha256": done["sha256"], **accuracies})
        shutil.rmtree(self.folder / key, ignore_errors=True)
        new.rename(self.folder / key)

    def lend_record(self, key: str, record: Path) -> None:
        """Puts the record of a stored teacher's training beside a study's own, so that it can be tracked with them."""
        if (record / "done.json").exists():
            return
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        for name in RECORDS:
            shutil.copyfile(self.folder / key / name, record / name)


def obtain(
    want: Wanted, store: Store, record: Path, data: Data, environment: dict[str, str], progress: Progress
) -> Teacher:
    """A teacher from the store, trained first if it is not there; its training's record is in `record` afterwards.

    Raises InputError if it is below the accuracy that the study asks for, or could not be trained.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    if store.card(want.key) is None:
        with _alone(store.folder / f"{want.key}.lock", want, progress):
            if store.card(want.key) is None:
                _train(want, store, CellFolder(record), data, environment, progress)
    store.lend_record(want.key, record)
    card = store.card(want.key)
    assert card is not None
    if want.min_accuracy is not None and card["val/acc1"] < want.min_accuracy:
        raise InputError(
            f"{want.gate}: is {want.min_accuracy:g}, but {want.pair.teacher.model} reaches "
            f"{card['val/acc1']:.2f} % on validation; train it longer or ask for less"
        )
    return load(want, store, data)


def load(want: Wanted, store: Store, data: Data) -> Teacher:
    """A teacher that is in the store."""
    card = store.card(want.key)
    assert card is not None
    with streams.seeded(0, "teacher"):
        model = models.tapped(want.pair.teacher, want.where, data.size, data.classes, data.mean, data.std)
    model.network.load_state_dict(store.weights(want.key, card["sha256"]))
    return Teacher(model.to(data.device), card["sha256"])


def _train(
    want: Wanted,
    store: Store,
    record: CellFolder,
    data: Data,
    environment: dict[str, str],
    progress: Progress,
) -> None:
    """Trains a teacher as a cohort of one, in a stream of its own, and publishes it."""
    if record.done and not (record.path / "student.safetensors").exists():
        shutil.rmtree(record.path)
    configuration = want.configuration
    settings = configuration["method"]["settings"]
    task = Task(record, want.label, configuration, want.pair.teacher, configuration["method"]["name"], settings)
    if not record.done:
        seed = streams.derive(want.pair.teacher.seed, "teacher")
        train([task], Conditions(data, want.recipe, seed, configuration["select"], None, environment), progress)
    if not record.done:
        reason = next((r["reason"] for r in reversed(record.journal().records) if r["kind"] == "failed"), "")
        raise InputError(f"{want.where}: {want.pair.teacher.model} could not be trained: {reason}")
    store.publish(want.key, record)
    (record.path / "student.safetensors").unlink()


@contextmanager
def _alone(path: Path, want: Wanted, progress: Progress) -> Iterator[None]:
    """Holds a lock, and says so where another process has it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.warn(f"{want.label} is being trained by another process; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
