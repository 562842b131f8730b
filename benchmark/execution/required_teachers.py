"""The teachers that a study requires, and the key of each in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import methods
from benchmark import RULES
from benchmark.code import Code
from benchmark.data import Data
from benchmark.data.cache import Facts
from benchmark.errors import InputError
from benchmark.execution.cell_code import code_of_network, code_of_teacher
from benchmark.execution.recorded_code import CODE, read_code
from benchmark.execution.teacher_store import TeacherCard, TeacherStore
from benchmark.hashing import identity
from benchmark.models import create
from benchmark.study.schema import Network, Pair, Recipe
from benchmark.study.study import Study


@dataclass(frozen=True)
class RequiredTeacher:
    """A teacher that a study requires.

    Attributes:
        key: Name of the teacher's folder in the store: the hash of `configuration`, or the key of
            stored weights.
        configuration: Everything that determines the teacher's weights.
        code: The code that determines them; empty for stored weights.
        network: The network that the weights belong to.
        pair: The first pair that uses the teacher.
        location: Where the study first names the teacher, such as `pairs[0].teacher`.
        pairs: Names of all pairs that use the teacher.
        recipe: The teacher's training recipe, or None if its weights come from elsewhere.
        min_accuracy: The highest minimum accuracy that these pairs set, in percent; None if none
            of them sets one.
        gate_location: Where the study sets that minimum.
    """

    key: str
    configuration: dict[str, Any]
    code: Code
    network: Network
    pair: Pair
    location: str
    pairs: tuple[str, ...]
    recipe: Recipe | None
    min_accuracy: float | None
    gate_location: str

    @property
    def label(self) -> str:
        """The teacher's name in messages and progress events."""
        return f"teacher {self.network.model}"


def required_teachers(
    study: Study, data: Data | Facts, store: TeacherStore
) -> list[RequiredTeacher]:
    """Return the distinct teachers of a study, in the order of its pairs.

    Raises:
        InputError: The store lacks weights that the study names, or those weights belong to a
            different network or to a data set with a different number of classes.
    """
    by_key: dict[str, RequiredTeacher] = {}
    for index, pair in enumerate(study.pairs):
        teacher = _required(study, index, data, store)
        before = by_key.get(teacher.key)
        by_key[teacher.key] = teacher if before is None else _merged(before, teacher, pair)
    return list(by_key.values())


def _required(study: Study, index: int, data: Data | Facts, store: TeacherStore) -> RequiredTeacher:
    """Return the teacher of one pair."""
    pair = study.pairs[index]
    teacher = pair.teacher
    location = f"pairs[{index}].teacher"

    network: Network = teacher
    recipe: Recipe | None = None
    configuration = {"rules": RULES, "role": "teacher", "data": study.data(data.fingerprint)}
    code: Code = {}

    if teacher.weights is not None:
        card = store.find(teacher.weights, f"{location}.weights")
        _check_card(card, teacher, location, data)
        network = card.network
        configuration |= {"student": network.identity, "sha256": card.sha256}
        key = card.key
    elif teacher.recipe is None and create.head_is_pretrained(teacher, data.classes):
        configuration |= {"student": teacher.identity, "classes": data.classes}
        code = code_of_network(teacher)
        key, configuration = _keyed(configuration, code, store)
    else:
        recipe = teacher.recipe or study.recipe.for_teachers
        baseline = methods.baseline()
        configuration |= {
            "student": teacher.identity,
            "method": {"name": baseline, "settings": methods.create(baseline).settings},
            "recipe": recipe.identity,
            "select": study.select,
            "seed": teacher.seed,
        }
        code = code_of_teacher(study, teacher, baseline, recipe)
        key, configuration = _keyed(configuration, code, store)

    return RequiredTeacher(
        key=key,
        configuration=configuration,
        code=code,
        network=network,
        pair=pair,
        location=location,
        pairs=(pair.name,),
        recipe=recipe,
        min_accuracy=teacher.min_accuracy,
        gate_location=f"{location}.min_accuracy",
    )


def _keyed(
    configuration: dict[str, Any], code: Code, store: TeacherStore
) -> tuple[str, dict[str, Any]]:
    """Return the key of a teacher, which may come from a version that recorded no code.

    Returns:
        The key, and the configuration whose hash it is.
    """
    if not code:
        return identity(configuration), configuration

    current = {**configuration, CODE: code}
    earlier = identity(configuration)
    files = store.files(earlier)
    if store.files(identity(current)).card.exists() or not files.card.exists():
        return identity(current), current

    if read_code(files) in (None, code):
        return earlier, configuration
    return identity(current), current


def _merged(first: RequiredTeacher, second: RequiredTeacher, pair: Pair) -> RequiredTeacher:
    """Return the first teacher with one more pair, and with the stricter gate of the two."""
    merged = replace(first, pairs=(*first.pairs, pair.name))
    if second.min_accuracy is None:
        return merged

    if first.min_accuracy is None or second.min_accuracy > first.min_accuracy:
        gate_location = second.gate_location
        merged = replace(merged, min_accuracy=second.min_accuracy, gate_location=gate_location)
    return merged


def _check_card(card: TeacherCard, teacher: Network, location: str, data: Data | Facts) -> None:
    """Raise InputError if a stored card contradicts the study's network or data."""
    for key in ("model", "kwargs", "image_size", "mean", "std"):
        stated, stored = getattr(teacher, key), getattr(card.network, key)
        optional = key not in ("model", "kwargs")
        if stated == stored or (optional and stated is None):
            continue
        raise InputError(
            f"{location}.{key}: is {stated}, but the stored teacher has {stored}; correct it, or "
            "name other weights"
        )

    if card.classes != data.classes:
        raise InputError(
            f"{location}.weights: the stored teacher has {card.classes} classes, but the data set "
            f"has {data.classes}; name other weights"
        )
