"""Loads teachers from the store, and trains, downloads or imports missing ones."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark import RULES, seeds
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution import teacher_training
from benchmark.execution.pair_networks import network_of
from benchmark.execution.prepare import Prepared
from benchmark.execution.recorded_code import record_code
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.execution.session import Session
from benchmark.execution.teacher_store import TeacherCard, TeacherDescription, TeacherStore
from benchmark.files import read_json
from benchmark.hashing import identity
from benchmark.locks import exclusive
from benchmark.models import weights
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import CellFolder, sha256
from benchmark.records.done import Done, read_done
from benchmark.records.integrity import configuration_digest
from benchmark.records.journal import Final, Start, Trained
from benchmark.records.layout import CellFiles
from benchmark.records.seal import Finished
from benchmark.study.schema import Network, Pair, Recipe, Split
from benchmark.study.study import Study
from benchmark.training import evaluate, profiling
from benchmark.training.teacher import Teacher
from benchmark.wording import counted


def obtain(
    required: RequiredTeacher, record: CellFiles, prepared: Prepared, session: Session
) -> Teacher:
    """Load a teacher, creating it first if the store lacks it.

    Args:
        required: The teacher.
        record: Receives the study's own record of the teacher: its origin and its accuracy.
        prepared: The study.
        session: The session.

    Raises:
        UntrainedTeacherError: The training of the teacher failed.
        InputError: The teacher's accuracy is below the study's minimum, or its files are damaged.
    """
    data = prepared.data
    store = session.store
    store.folder.mkdir(parents=True, exist_ok=True)
    if store.card(required.key) is None:
        with _locked(required, session):
            if store.card(required.key) is None:
                _make(required, record, prepared, session)

    card = _repaired_card(required, session)
    record_code(required.configuration, required.code, store.files(required.key))
    teacher = load(card, required.location, store, data)

    if record.done.exists() and read_done(record.done).sha256 != card.sha256:
        place = CellFolder(record.path).set_aside()
        problem = f"{record.path}: is the record of another teacher"
        aside = f"set aside in {place.parent.name}/{place.name}, it is made again"
        session.progress.warn(f"{required.label}: {problem}; {aside}")

    if record.done.exists() and not _is_measured_on(record, data):
        shutil.rmtree(record.path)  # the study tests on other images than before

    same_data = (card.fingerprint, card.test_part) == (data.fingerprint, data.test_part)
    if same_data:
        store.copy_record(required.key, record)
    elif not record.done.exists():
        shutil.rmtree(record.path, ignore_errors=True)
        _measure(record, required.configuration, teacher.model, data, session)
        record.weights.unlink()

    _check_gate(required, card, record, same_data)
    return teacher


def load(card: TeacherCard, location: str, store: TeacherStore, data: Data) -> Teacher:
    """Load a stored teacher, with the normalisation that it was trained with.

    Args:
        card: The teacher's card.
        location: Where the study names the teacher, for messages.
        store: The store.
        data: The data that the teacher will run on.

    Raises:
        InputError: The teacher's weights are missing or damaged, or don't fit its network.
    """
    with seeds.seeded(0, "teacher"):
        model = network_of(data, card.network, location)

    weights.load_into(model.network, store.weights(card), card.network.model, location)
    return Teacher(model.to(data.device), card.sha256)


def import_weights(
    file: Path,
    source: str,
    pair: Pair,
    study: Study,
    data: Data,
    session: Session,
    entry: str | None = None,
) -> TeacherCard:
    """Import weights that were trained elsewhere, and measure them on the test images.

    Weights that are already in the store are measured again.

    Args:
        file: The file with the weights.
        source: The origin of the file, for the card.
        pair: The pair whose teacher the weights belong to.
        study: The study.
        data: The study's data.
        session: The session.
        entry: Which weights of the file to take, if it contains several.

    Raises:
        InputError: The file cannot be read, its weights don't fit the teacher's network, or the
            network's outputs are not finite with them.
    """
    network = pair.teacher.untrained
    with seeds.seeded(0, "teacher"):
        model = network_of(data, network, "teacher")
    expected = model.network.state_dict().keys()
    tensors = weights.read(file, entry, expected, session.progress.warn)
    weights.load_into(model.network, tensors, network.model, str(file))
    model.to(data.device)

    digest = sha256(model.network.state_dict())
    content = {"rules": RULES, "role": "teacher", "sha256": digest}
    key = identity({**content, "student": _with_normalisation(network, model).identity})
    configuration = {
        **content,
        "data": study.data(data.fingerprint),
        "student": network.identity,
        "source": source,
    }

    store = session.store
    store.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(store.lock(key)):
        description = _describe(key, source, network, model, data)
        _measure_and_publish(description, configuration, model, data, session)

    card = store.card(key)
    assert card is not None
    return card


def current_accuracy(card: TeacherCard, store: TeacherStore, data: Data) -> float:
    """Measure a stored teacher again.

    Args:
        card: The teacher's card.
        store: The store.
        data: The data set that the card names.

    Returns:
        Top-1 accuracy on the test images, in percent.

    Raises:
        InputError: The teacher's weights are missing or damaged.
    """
    teacher = load(card, card.key, store, data)
    inputs = data.test(Finished(store.files(card.key).path))
    return evaluate.accuracy(evaluate.predict(teacher.model, inputs), inputs.labels)


def _check_gate(
    required: RequiredTeacher, card: TeacherCard, record: CellFiles, same_data: bool
) -> None:
    """Raise InputError if a teacher is less accurate than its study requires."""
    if same_data:
        accuracy, images = card.best_known
    else:
        accuracy, images = read_done(record.done).metrics["test/acc1"], "test"

    if required.min_accuracy is None or accuracy >= required.min_accuracy:
        return

    remedy = "use another teacher" if required.recipe is None else "train it longer"
    raise InputError(
        f"{required.gate_location}: is {required.min_accuracy:g}, but {required.network.model} "
        f"reaches only {accuracy:.2f} % on the {images} images; {remedy}, or lower the minimum"
    )


def _repaired_card(required: RequiredTeacher, session: Session) -> TeacherCard:
    """Return the card of a stored teacher, and repair its record if that is damaged.

    Two studies that repaired it at once would both append what its journal lacks.
    """
    store = session.store
    mended: list[str] = []
    try:
        with _locked(required, session):
            card = _card(required, store)
            mended = store.repair(card)
    except OSError:  # a store that this user may only read cannot be locked
        card = _card(required, store)
        store.check(card)

    for text in mended:
        session.progress.warn(f"{required.label}: {text}")
    return card


def _card(required: RequiredTeacher, store: TeacherStore) -> TeacherCard:
    """Return the card of a teacher that is in the store."""
    card = store.card(required.key)
    assert card is not None
    return card


def _make(
    required: RequiredTeacher, record: CellFiles, prepared: Prepared, session: Session
) -> None:
    """Train a teacher, or download its pretrained weights, and publish it."""
    recipe = required.recipe
    if recipe is not None:
        teacher_training.train(required, recipe, record, prepared, session)
        _publish_trained(required, recipe, record, prepared.data, session)
        return

    data = prepared.data
    session.progress.busy(required.label, "loading its pretrained weights")
    model = network_of(data, required.network, required.location).to(data.device)
    description = _describe(required.key, "timm", required.network, model, data)
    _measure_and_publish(description, required.configuration, model, data, session)


def _publish_trained(
    required: RequiredTeacher, recipe: Recipe, record: CellFiles, data: Data, session: Session
) -> None:
    """Publish a teacher that has been trained in the folder of its record."""
    with seeds.seeded(0, "teacher"):
        model = network_of(data, required.network, required.location)
    description = _describe(required.key, "trained", required.network, model, data)
    training = {"recipe": recipe.identity, "seed": required.pair.teacher.seed}
    session.store.publish(record, description.model_copy(update=training))
    record.weights.unlink()


def _measure_and_publish(
    description: TeacherDescription,
    configuration: dict[str, Any],
    model: TappedModel,
    data: Data,
    session: Session,
) -> None:
    """Measure a network that was not trained here, and store it."""
    store = session.store
    record = store.files(f".{description.key}.new")
    shutil.rmtree(record.path, ignore_errors=True)

    _measure(record, configuration, model, data, session)
    store.publish(record, description)
    shutil.rmtree(record.path)


def _measure(
    record: CellFiles,
    configuration: dict[str, Any],
    model: TappedModel,
    data: Data,
    session: Session,
) -> None:
    """Evaluate a network, and write the same record as a finished training run would."""
    folder = CellFolder(record.path)
    folder.begin(configuration)
    journal = folder.journal()
    own_id = configuration_digest(folder.files)
    journal.append(Start(epoch=0, environment=session.environment, configuration=own_id))
    digest = folder.save_weights(model.network.state_dict())
    journal.append(Trained(epoch=0, sha256=digest))

    label = f"teacher {configuration['student']['model']}"
    inputs = data.test(Finished(record.path))
    session.progress.busy(label, f"evaluating {counted(len(inputs.labels), 'test image')}")
    logits = evaluate.predict(model, inputs)
    if not logits.isfinite().all():
        raise InputError(
            f"{label}: its outputs on the test images are not finite; use other weights, or check "
            "its mean and std"
        )
    metrics = evaluate.test_metrics_of(logits, inputs.labels, None) | profiling.costs(model)

    final = Final(metrics=metrics)
    journal.append(final)
    done = Done(
        sha256=digest,
        epoch=0,
        metrics=metrics,
        size=folder.size_of_weights(),
        time=final.time,
        journal=journal.extent,
        configuration=own_id,
    )
    folder.finish(done)
    session.progress.finished(label, metrics)


def _is_measured_on(record: CellFiles, data: Data) -> bool:
    """Return whether the accuracy in a finished record is that on the test images of the data."""
    remedy = f"delete the folder {record.path} to train or import this teacher again"
    measured_on = read_json(record.config, "data", remedy=remedy)["data"]
    test_part = Split.model_validate(measured_on["split"]).test_part
    return (measured_on["fingerprint"], test_part) == (data.fingerprint, data.test_part)


def _describe(
    key: str, source: str, network: Network, model: TappedModel, data: Data
) -> TeacherDescription:
    return TeacherDescription(
        key=key,
        network=_with_normalisation(network, model),
        classes=data.classes,
        dataset=data.dataset,
        fingerprint=data.fingerprint,
        source=source,
        test_part=data.test_part,
    )


def _with_normalisation(network: Network, model: TappedModel) -> Network:
    """Return the untrained network with explicit normalisation; the default depends on the data."""
    normalisation = {"mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()}
    return Network(**{**normalisation, **network.untrained.identity})


def _locked(required: RequiredTeacher, session: Session) -> AbstractContextManager[None]:
    """Let no other process train, measure or repair a teacher meanwhile."""
    busy = f"{required.label} is being trained or measured by another process; waiting for it"
    return exclusive(session.store.lock(required.key), lambda: session.progress.warn(busy))
