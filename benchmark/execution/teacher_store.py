"""The stored teachers of a workspace, each in a folder with its weights, card and record."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
)

from benchmark.errors import DamageError, InputError
from benchmark.files import write_json
from benchmark.records.checkpoints import CellFolder, Tensors
from benchmark.records.done import read_done
from benchmark.records.healing import heal
from benchmark.records.integrity import check_configuration, check_finished
from benchmark.records.journal import Epoch, read_journal
from benchmark.records.layout import CellFiles, Workspace
from benchmark.study.schema import Dataset, Network, stored_dataset

DIGEST = "digest"
"""Key of a card: SHA-256 of its other entries. Cards of earlier versions have none."""


def _stored(value: Any) -> Any:
    return stored_dataset(value) if isinstance(value, Mapping) else value


class TeacherDescription(BaseModel):
    """The identity and the origin of a teacher.

    Attributes:
        key: Name of its folder in the store.
        network: The network, with the normalisation that it was trained with.
        classes: Number of classes.
        dataset: The data set that it was trained or measured on.
        fingerprint: Fingerprint of that data set.
        source: `trained`, `timm`, or the file that the weights were imported from.
        recipe: Recipe of its training, if it was trained here.
        seed: Seed of its training, if it was trained here.
        test_part: The keys of the split that chose the test images; None if all were used.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    key: str
    network: Network
    classes: int
    dataset: Annotated[Dataset, BeforeValidator(_stored)]
    fingerprint: str
    source: str
    recipe: dict[str, Any] | None = None
    seed: int | None = None
    test_part: dict[str, Any] | None = None

    @field_serializer("dataset")
    def _with_defaults(self, dataset: Dataset) -> dict[str, Any]:
        return dataset.model_dump()


class TeacherCard(TeacherDescription):
    """A stored teacher, as described in `card.json`.

    Attributes:
        sha256: SHA-256 of its weights file.
        test_acc1: Top-1 accuracy on the test images, in percent.
        val_acc1: Top-1 accuracy on the validation images in percent, if there were any.
    """

    sha256: str
    test_acc1: float = Field(alias="test/acc1")
    val_acc1: float | None = Field(default=None, alias="val/acc1")

    @property
    def best_known(self) -> tuple[float, str]:
        """The validation accuracy if known, else the test accuracy, and the name of its images."""
        if self.val_acc1 is not None:
            return self.val_acc1, "validation"
        return self.test_acc1, self.tested_on

    @property
    def tested_on(self) -> str:
        """The name of the images that the test accuracy was measured on."""
        return "test" if self.test_part is None else "chosen test"


class TeacherStore:
    """Finds, publishes and copies stored teachers.

    Attributes:
        folder: The folder of all teachers.
    """

    def __init__(self, workspace: Workspace):
        self.folder = workspace.teachers

    def files(self, key: str) -> CellFiles:
        """Return the files of a teacher."""
        return CellFiles(self.folder / key)

    def lock(self, key: str) -> Path:
        """Return the path of the lock that is held while a teacher is being created."""
        return self.folder / f"{key}.lock"

    def card(self, key: str) -> TeacherCard | None:
        """Return a teacher's card, or None if the teacher isn't in the store.

        Raises:
            DamageError: The card is damaged, or has been changed.
        """
        path = self.files(key).card
        if not path.exists():
            return None

        content = path.read_bytes()
        try:
            card = TeacherCard.model_validate_json(content)
        except ValidationError as error:
            raise DamageError(f"{path}: damaged ({_reason(error)})", _remedy(path)) from error

        entries = json.loads(content)
        digest = entries.pop(DIGEST, None)
        if digest is None and self._is_of_this_version(key):
            raise DamageError(f"{path}: has lost its digest", _remedy(path))
        if digest is not None and digest != _digest_of(entries):
            raise DamageError(f"{path}: has been changed since it was written", _remedy(path))
        return card

    def _is_of_this_version(self, key: str) -> bool:
        """Return whether a teacher's marker states all that this version writes."""
        try:
            return read_done(self.files(key).done).is_complete
        except InputError:
            return False  # reported by `check`

    def repair(self, card: TeacherCard) -> list[str]:
        """Check a teacher's record, and its card against the record; `weights` checks the weights.

        Args:
            card: The card.

        Returns:
            What was damaged and could be restored from the other files.

        Raises:
            DamageError: The record is damaged, or the card contradicts it.
        """
        files = self.files(card.key)
        mended = heal(files)
        self.check(card)
        return mended

    def check(self, card: TeacherCard) -> bool:
        """Check a teacher's record, and its card against the record.

        Args:
            card: The card.

        Returns:
            Whether the journal is chained; those of earlier versions are not.

        Raises:
            DamageError: The record is damaged, or the card contradicts it.
        """
        files = self.files(card.key)
        try:
            check_configuration(files, named=False)
            chained = check_finished(files, weights=False)
        except DamageError as error:
            raise DamageError(error.problem, _remedy(files.card)) from error

        stated = {"sha256": card.sha256, "test/acc1": card.test_acc1, "val/acc1": card.val_acc1}
        for key, value in _results(files).items():
            if stated[key] != value:
                problem = f"{files.card}: {key} is {stated[key]}, but {value} was recorded"
                raise DamageError(problem, _remedy(files.card))
        return chained

    def cards(self) -> tuple[list[TeacherCard], list[str]]:
        """Return all cards, sorted by key, and a message for each damaged one."""
        cards: list[TeacherCard] = []
        messages: list[str] = []

        for folder in sorted(self.folder.glob("[!.]*")):
            try:
                card = self.card(folder.name)
            except InputError as error:
                messages.append(str(error))
                continue
            if card is not None:
                cards.append(card)

        return cards, messages

    def find(self, digits: str, location: str) -> TeacherCard:
        """Return the only teacher whose weights' SHA-256 starts with the given digits.

        Args:
            digits: The first hexadecimal digits.
            location: Where the user wrote the digits, for messages.

        Raises:
            InputError: No teacher matches, or several do.
        """
        cards, _ = self.cards()
        matches = [card for card in cards if card.sha256.startswith(digits)]
        if not matches:
            remedy = (
                "list them with `kdbench teachers list` or add one with `kdbench teachers import`"
            )
            raise InputError(f"{location}: no teacher in {self.folder} matches {digits}; {remedy}")

        if len(matches) > 1:
            keys = ", ".join(card.key for card in matches)
            raise InputError(
                f"{location}: {digits} matches several teachers ({keys}); give more digits"
            )

        return matches[0]

    def weights(self, card: TeacherCard) -> Tensors:
        """Read a teacher's state dict.

        Raises:
            DamageError: The file is missing, or differs from the one that was measured.
        """
        files = self.files(card.key)
        try:
            return CellFolder(files.path).read_weights(card.sha256)
        except DamageError as error:
            raise DamageError(error.problem, _remedy(files.card)) from error

    def publish(self, record: CellFiles, description: TeacherDescription) -> None:
        """Copy a finished training run into the store. The folder appears only when complete.

        Args:
            record: The training run's files, including the weights.
            description: The information that these files don't contain.
        """
        card = TeacherCard.model_validate({**dict(description), **_results(record)})
        files = self.files(card.key)
        partial = CellFiles(self.folder / f".{card.key}.part")

        shutil.rmtree(partial.path, ignore_errors=True)
        partial.path.mkdir(parents=True)
        _copy_record(record, partial)
        shutil.copyfile(record.weights, partial.weights)
        entries = card.model_dump(mode="json", by_alias=True, exclude_none=True)
        write_json(partial.card, {**entries, DIGEST: _digest_of(entries)})

        shutil.rmtree(files.path, ignore_errors=True)
        partial.path.rename(files.path)

    def copy_record(self, key: str, record: CellFiles) -> None:
        """Add a teacher's record, without the weights, to a study's folder, as one of its runs."""
        if record.done.exists():
            return

        shutil.rmtree(record.path, ignore_errors=True)
        record.path.mkdir(parents=True)
        _copy_record(self.files(key), record)


def _copy_record(source: CellFiles, target: CellFiles) -> None:
    """Copy the configuration and the journal, then the marker that makes the record valid."""
    shutil.copyfile(source.config, target.config)
    shutil.copyfile(source.journal, target.journal)
    shutil.copyfile(source.done, target.done)


def _results(record: CellFiles) -> dict[str, Any]:
    """Return the fields of a card that come from the training run's own files."""
    done = read_done(record.done)
    if "test/acc1" not in done.metrics:
        raise DamageError(f"{record.done}: states no test accuracy", _remedy(record.card))
    results: dict[str, Any] = {
        "sha256": done.sha256,
        "test/acc1": done.metrics["test/acc1"],
        "val/acc1": None,
    }

    for entry in read_journal(record.journal):
        if isinstance(entry, Epoch) and entry.epoch == done.epoch:
            results["val/acc1"] = entry.metrics.get("val/acc1")

    return results


def _digest_of(entries: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the entries of a card."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _remedy(card: Path) -> str:
    return f"delete the folder {card.parent} to train or import this teacher again"


def _reason(error: ValidationError) -> str:
    """Describe the first problem of a card in one line."""
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    return f"{key}: {problem['msg']}" if key else problem["msg"]
