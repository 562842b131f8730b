"""Teachers: trained by the same engine, or taken from timm or a file; stored once, measured, taught from by many."""

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
from benchmark import RULES, seeds
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution.teacher_store import Card, Store
from benchmark.hashing import identity
from benchmark.models import create, weights
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import CellFolder, sha256
from benchmark.records.journal import Failed, Final, Start, Trained
from benchmark.records.seal import Finished
from benchmark.study.schema import Network, Pair, Recipe
from benchmark.study.study import Study
from benchmark.training import evaluate
from benchmark.training.cohort import train
from benchmark.training.conditions import Conditions, Task
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher


@dataclass(frozen=True)
class Wanted:
    """A teacher that a study needs.

    key: its folder in the store. network: what is built for its weights. where: its first place in the study. pairs:
    the names of all that share it. recipe: of its training, None where it is taken as it is. gate: the place of the
    strictest `min_accuracy` among them.
    """

    key: str
    configuration: dict[str, Any]
    network: Network
    pair: Pair
    where: str
    pairs: tuple[str, ...]
    recipe: Recipe | None
    min_accuracy: float | None
    gate: str

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"teacher {self.network.model}"


def wanted(study: Study, data: Data, store: Store) -> list[Wanted]:
    """The teachers of a study, each once, in the order of its pairs.

    Raises InputError for stored weights that are not there, or are another network's or for other classes.
    """
    found: dict[str, Wanted] = {}
    for place, pair in enumerate(study.pairs):
        one = _wanted(study, place, pair, data, store)
        before = found.get(one.key)
        if before is not None:
            strict = max(
                before,
                one,
                key=lambda want: -1.0 if want.min_accuracy is None else want.min_accuracy,
            )
            pairs = (*before.pairs, pair.name)
            one = replace(before, pairs=pairs, min_accuracy=strict.min_accuracy, gate=strict.gate)
        found[one.key] = one
    return list(found.values())


def _wanted(study: Study, place: int, pair: Pair, data: Data, store: Store) -> Wanted:
    teacher, where = pair.teacher, f"pairs[{place}].teacher"
    common = {"rules": RULES, "role": "teacher", "data": study.data(data.fingerprint)}
    network: Network = teacher
    recipe = None
    if teacher.weights is not None:
        card = _agreeing(store.find(teacher.weights, f"{where}.weights"), teacher, where, data)
        network, key = Network(**card["network"]), card["key"]
        configuration = {**common, "student": network.identity, "sha256": card["sha256"]}
    elif teacher.recipe is None and create.head_is_pretrained(teacher, data.classes):
        configuration = {**common, "student": teacher.identity, "classes": data.classes}
        key = identity(configuration)
    else:
        recipe, alone = teacher.recipe or study.recipe, methods.baseline()
        configuration = {
            **common,
            "student": teacher.identity,
            "method": {"name": alone, "settings": methods.create(alone).settings},
            "recipe": recipe.identity,
            "select": study.select,
            "seed": teacher.seed,
        }
        key = identity(configuration)
    gate = f"{where}.min_accuracy"
    return Wanted(
        key, configuration, network, pair, where, (pair.name,), recipe, teacher.min_accuracy, gate
    )


def _agreeing(card: Card, teacher: Network, where: str, data: Data) -> Card:
    """The card. Raises InputError if the study says something else of the network than its card does."""
    stored = Network(**card["network"])
    for key in ("model", "kwargs", "image_size", "mean", "std"):
        told, kept = getattr(teacher, key), getattr(stored, key)
        if told != kept and (key in ("model", "kwargs") or told is not None):
            raise InputError(
                f"{where}.{key}: is {told}, but these weights are of a network with {kept}"
            )
    if card["classes"] != data.classes:
        raise InputError(
            f"{where}.weights: tell {card['classes']} classes apart; the data set has {data.classes}"
        )
    return card


def obtain(
    want: Wanted,
    store: Store,
    record: Path,
    data: Data,
    environment: dict[str, str],
    progress: Progress,
) -> Teacher:
    """A teacher from the store, made first if it is not there; `record` then tells how it came and what it reaches.

    Raises InputError if it is below the accuracy that the study asks for, or could not be made.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    if store.card(want.key) is None:
        with _alone(store.folder / f"{want.key}.lock", want, progress):
            if store.card(want.key) is None:
                _make(want, store, CellFolder(record), data, environment, progress)
    card = store.card(want.key)
    assert card is not None
    teacher = load(card, want.where, store, data)
    at_home = card["fingerprint"] == data.fingerprint
    if at_home:
        store.lend_record(want.key, record)
    elif not (record / "done.json").exists():
        shutil.rmtree(record, ignore_errors=True)
        _measure(CellFolder(record), want.configuration, teacher.model, data, environment)
        (record / "student.safetensors").unlink()
    _check_gate(want, card, record, at_home)
    return teacher


def _check_gate(want: Wanted, card: Card, record: Path, at_home: bool) -> None:
    known = json.loads((record / "done.json").read_text())["metrics"]["test/acc1"]
    reached, images = (
        (card["val/acc1"], "validation") if at_home and "val/acc1" in card else (known, "test")
    )
    if want.min_accuracy is not None and reached < want.min_accuracy:
        remedy = "train it longer" if want.recipe is not None else "take another"
        raise InputError(
            f"{want.gate}: is {want.min_accuracy:g}, but {want.network.model} reaches {reached:.2f} % on the {images} "
            f"images; {remedy} or ask for less"
        )


def load(card: Card, where: str, store: Store, data: Data) -> Teacher:
    """A teacher of the store, with the normalisation that it was trained with.  where: its place, for messages."""
    with seeds.seeded(0, "teacher"):
        model = create.tapped(
            Network(**card["network"]), where, data.size, data.classes, data.mean, data.std
        )
    weights.load_into(model.network, store.weights(card), card["network"]["model"], where)
    return Teacher(model.to(data.device), card["sha256"])


def take(
    source: str,
    file: Path,
    pair: Pair,
    study: Study,
    store: Store,
    data: Data,
    known: dict[str, str],
) -> Card:
    """Imports the weights in a file as the teacher of a pair, measured on the test images; returns their card.

    source: where the file came from, for the card. known: the environment. Weights that are in the store already are
    measured anew. Raises InputError if they do not fit the network.
    """
    network = pair.teacher.untrained
    with seeds.seeded(0, "teacher"):
        model = create.tapped(network, "teacher", data.size, data.classes, data.mean, data.std)
    weights.load_into(model.network, weights.read(file), network.model, str(file))
    model.to(data.device)
    digest = sha256(model.network.state_dict())
    key = identity(
        {"rules": RULES, "role": "teacher", "student": _explicit(network, model), "sha256": digest}
    )
    configuration = {
        "rules": RULES, "role": "teacher", "data": study.data(data.fingerprint), "student": network.identity,
        "source": source, "sha256": digest,
    }  # fmt: skip
    with FileLock(_folder(store) / f"{key}.lock"):
        _take_over(key, configuration, source, network, model, store, data, known)
    card = store.card(key)
    assert card is not None
    return card


def check(card: Card, store: Store, data: Data) -> float:
    """Top-1 accuracy in percent that a stored teacher reaches now on its test images.

    Raises InputError if its weights are not those that were stored.
    """
    teacher = load(card, card["key"], store, data)
    images = data.test(Finished(store.folder / card["key"]))
    return evaluate.accuracy(evaluate.predict(teacher.model, images), images.labels)


def _make(
    want: Wanted,
    store: Store,
    record: CellFolder,
    data: Data,
    environment: dict[str, str],
    progress: Progress,
) -> None:
    if want.recipe is not None:
        _train(want, want.recipe, store, record, data, environment, progress)
        return
    model = create.tapped(
        want.network, want.where, data.size, data.classes, data.mean, data.std
    ).to(data.device)
    _take_over(want.key, want.configuration, "timm", want.network, model, store, data, environment)


def _take_over(
    key: str, configuration: dict[str, Any], source: str, network: Network, model: TappedModel, store: Store,
    data: Data, environment: dict[str, str],
) -> None:  # fmt: skip
    """Measures a network that was trained elsewhere, and stores it."""
    record = CellFolder(_folder(store) / f".{key}.new")
    shutil.rmtree(record.path, ignore_errors=True)
    _measure(record, configuration, model, data, environment)
    store.publish(record, _card(key, source, network, model, data))
    shutil.rmtree(record.path)


def _measure(
    record: CellFolder,
    configuration: dict[str, Any],
    model: TappedModel,
    data: Data,
    environment: dict[str, str],
) -> None:
    """Evaluates a finished network, with the same records as the end of a training here leaves."""
    record.begin(configuration)
    journal = record.journal()
    journal.append(Start(epoch=0, environment=environment))
    digest = record.save_student(model.network.state_dict())
    journal.append(Trained(epoch=0, sha256=digest))
    test = data.test(Finished(record.path))
    scores = evaluate.quality(evaluate.predict(model, test), test.labels, None)
    metrics = {f"test/{name}": value for name, value in scores.items()} | evaluate.costs(model)
    journal.append(Final(metrics=metrics))
    record.finish({"sha256": digest, "epoch": 0, "metrics": metrics})


def _card(key: str, source: str, network: Network, model: TappedModel, data: Data) -> Card:
    """What a record does not tell itself. The normalisation is written out, so that other data do not change it."""
    return {
        "key": key,
        "network": _explicit(network, model),
        "classes": data.classes,
        "dataset": data.dataset.model_dump(),
        "fingerprint": data.fingerprint,
        "source": source,
    }


def _explicit(network: Network, model: TappedModel) -> dict[str, Any]:
    seen = {"mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()}
    return {**seen, **network.untrained.identity}


def _train(
    want: Wanted, recipe: Recipe, store: Store, record: CellFolder, data: Data, environment: dict[str, str],
    progress: Progress,
) -> None:  # fmt: skip
    """Trains a teacher as a cohort of one, in a stream of its own, and publishes it."""
    if record.done and not (record.path / "student.safetensors").exists():
        shutil.rmtree(record.path)
    configuration = want.configuration
    settings = configuration["method"]["settings"]
    task = Task(
        record, want.label, configuration, want.network, configuration["method"]["name"], settings
    )
    if not record.done:
        seed = seeds.derive(want.pair.teacher.seed, "teacher")
        train(
            [task],
            Conditions(data, recipe, seed, configuration["select"], None, environment),
            progress,
        )
    if not record.done:
        reason = next(
            (r.reason for r in reversed(record.journal().records) if isinstance(r, Failed)), ""
        )
        raise InputError(f"{want.where}: {want.network.model} could not be trained: {reason}")
    with seeds.seeded(0, "teacher"):
        model = create.tapped(
            want.network, want.where, data.size, data.classes, data.mean, data.std
        )
    card = _card(want.key, "trained", want.network, model, data)
    store.publish(record, {**card, "recipe": recipe.identity, "seed": want.pair.teacher.seed})
    (record.path / "student.safetensors").unlink()


def _folder(store: Store) -> Path:
    store.folder.mkdir(parents=True, exist_ok=True)
    return store.folder


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
