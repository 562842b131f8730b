"""Checks the files of a cell against each other: configuration, journal, markers and weights.

A process that is killed at any moment leaves files that pass: a marker is written after what it
describes, a record of an epoch after its checkpoint, and an incomplete last line of a journal does
not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import DamageError
from benchmark.hashing import identity
from benchmark.records.chain import Chain, Extent
from benchmark.records.done import Done, read_done
from benchmark.records.journal import (
    EarlyEpoch,
    Epoch,
    Failed,
    Final,
    Json,
    Record,
    Start,
    Trained,
    decode_line,
    parse_journal,
    read_content,
)
from benchmark.records.layout import CellFiles
from benchmark.records.reading import RETRAIN, read_error, read_file

_CHUNK = 1 << 22
"""Number of bytes of weights that are hashed at a time."""


def check_cell(files: CellFiles, *, weights: bool = True) -> bool:
    """Check all files of a cell or of a study's record of a teacher.

    Args:
        files: The files.
        weights: Whether a finished cell has its weights. A study's record of a teacher has not,
            and its folder need not be named after its configuration.

    Returns:
        Whether the journal is chained; those of earlier versions are not.

    Raises:
        DamageError: A file is damaged or missing.
        InputError: A file cannot be read, or comes from a later version of kdbench.
    """
    check_configuration(files, named=weights)
    if files.done.exists():
        return check_finished(files, weights=weights)
    return check_unfinished(files)


def check_configuration(files: CellFiles, *, named: bool = True) -> None:
    """Check that the configuration is whole, and the one that the folder is named after.

    Args:
        files: The files of a cell or teacher.
        named: Whether the folder is named after its configuration.

    Raises:
        DamageError: It is not, or it is missing although training has started.
    """
    configuration = read_configuration(files)
    if configuration is None:
        if read_content(files.journal) or files.done.exists():
            raise DamageError(f"{files.config}: missing", RETRAIN)
    elif named and identity(configuration) != files.path.name:
        raise DamageError(f"{files.config}: is not the configuration of this cell", RETRAIN)

    if files.code.exists():
        _read_json(files.code)


def read_configuration(files: CellFiles) -> Json | None:
    """Return the configuration of a cell; None if there is none.

    Raises:
        DamageError: The file is damaged.
    """
    return _read_json(files.config) if files.config.exists() else None


def configuration_digest(files: CellFiles) -> str:
    """Return the digest of a cell's configuration; empty if there is none.

    Raises:
        DamageError: The file is damaged.
    """
    configuration = read_configuration(files)
    return "" if configuration is None else identity(configuration)


def check_finished(files: CellFiles, *, weights: bool = True) -> bool:
    """Check the files of a finished cell.

    Args:
        files: The files.
        weights: Whether the weights are among them.

    Returns:
        Whether the journal is chained.

    Raises:
        DamageError: A file is damaged or missing, or two contradict each other.
        InputError: A file cannot be read, or comes from a later version of kdbench.
    """
    done = read_done(files.done)
    if done.configuration not in (None, configuration_digest(files)):
        raise DamageError(f"{files.config}: has changed since the cell was finished", RETRAIN)

    records, chain = _read_records(files, done)
    results = results_in(records)
    if results is None:
        raise DamageError(f"{files.journal}: lacks the results of a finished cell", RETRAIN)
    if not agrees(done, *results):
        raise DamageError(f"{files.done}: contradicts the journal", RETRAIN)
    if chain.whole and not done.is_complete:
        raise DamageError(f"{files.done}: does not state all that was written", RETRAIN)
    if weights:
        check_weights(files.weights, done.sha256, done.size)
    return chain.whole


def read_sound_journal(files: CellFiles) -> list[Record]:
    """Return the records of a cell, none of which is missing as far as can be told.

    The marker of a finished cell tells whether the last records are there; a damaged one does not.

    Raises:
        DamageError: A record is damaged or missing.
        InputError: A file cannot be read, or comes from a later version of kdbench.
    """
    try:
        done = read_done(files.done)
    except DamageError:
        done = None
    records, _ = _read_records(files, done)
    return records


def check_unfinished(files: CellFiles) -> bool:
    """Check the files of a cell that has not started or not finished.

    Returns:
        Whether the journal is chained.

    Raises:
        DamageError: The journal is damaged or has lost records, or the best weights so far are
            damaged.
        InputError: A file cannot be read, or comes from a later version of kdbench.
    """
    markers = dict(_intact_markers(files))  # before the journal, which may grow meanwhile
    content = read_content(files.journal)
    records, chain = parse_journal(files.journal, content)
    check_records(files, records)

    fitting = [marker for marker in markers.values() if fits(marker, files.journal, content)]
    if markers and not fitting:
        lost = f"has lost records that were written before {next(iter(markers)).name}"
        raise DamageError(f"{files.journal}: {lost}", RETRAIN)

    configuration = read_configuration(files) or {}
    if fitting and configuration.get("select") == "best_val":
        _check_best(files, fitting[0]["state"]["best"]["epoch"])
    return chain.whole


def fits(marker: Json, journal: Path, content: bytes) -> bool:
    """Return whether a journal has everything that was recorded before a checkpoint.

    Args:
        marker: The marker of the checkpoint.
        journal: The journal, for messages.
        content: Its bytes.

    Raises:
        DamageError: The journal is damaged.
    """
    if "journal" in marker:
        return Extent.model_validate(marker["journal"]).begins(content)

    records, _ = parse_journal(journal, content)
    epochs = sum(isinstance(record, EarlyEpoch | Epoch) for record in records)
    return epochs >= int(marker["epoch"])


def read_marker(path: Path) -> Json:
    """Read the JSON marker of a tensor file.

    Raises:
        DamageError: The file is missing or damaged.
        InputError: The file cannot be read.
    """
    content = decode_line(read_file(path))
    if content is None:
        raise DamageError(f"{path}: its content has changed since it was written", RETRAIN)
    return content


def read_whole(path: Path, digest: str) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        digest: Its SHA-256 when it was written.

    Raises:
        DamageError: The file is missing, or its digest differs.
        InputError: The file cannot be read.
    """
    content = read_file(path)
    _compare(path, hashlib.sha256(content).hexdigest(), digest)
    return content


def check_weights(path: Path, digest: str, size: int | None) -> None:
    """Check the size and the digest of weights, without loading them.

    Args:
        path: The file.
        digest: Its SHA-256 when it was written.
        size: Its size in bytes; None if it is unknown.

    Raises:
        DamageError: The file is missing, or differs from what was written.
        InputError: The file cannot be read.
    """
    try:
        actual_size = path.stat().st_size
        if size is not None and actual_size != size:
            problem = f"has {actual_size} bytes, but {size} were written"
            raise DamageError(f"{path}: {problem}", RETRAIN)
        _compare(path, _digest_of(path), digest)
    except FileNotFoundError:
        raise DamageError(f"{path}: missing", RETRAIN) from None
    except OSError as error:
        raise read_error(path, error) from None


def results_in(records: Sequence[Record]) -> tuple[Trained, Final] | None:
    """Return the records of the chosen weights and of their results, if there are both."""
    trained = next((record for record in records if isinstance(record, Trained)), None)
    final = next((record for record in records if isinstance(record, Final)), None)
    return None if trained is None or final is None else (trained, final)


def agrees(done: Done, trained: Trained, final: Final) -> bool:
    """Return whether the marker of a finished cell states what its journal does."""
    # Two NaN are different numbers but the same text.
    same_metrics = json.dumps(done.metrics, sort_keys=True) == json.dumps(
        final.metrics, sort_keys=True
    )
    same_weights = (done.sha256, done.epoch) == (trained.sha256, trained.epoch)
    return same_metrics and same_weights and done.time in (None, final.time)


def _read_records(files: CellFiles, done: Done | None) -> tuple[list[Record], Chain]:
    """Return the records of a cell, and their chain.

    The marker is read before the journal, to which a training process may append meanwhile.
    """
    content = read_content(files.journal)
    records, chain = parse_journal(files.journal, content)
    if done is not None and done.journal is not None and not done.journal.begins(content):
        lost = "has lost or changed records since the cell was finished"
        raise DamageError(f"{files.journal}: {lost}", RETRAIN)

    check_records(files, records)
    return records, chain


def check_records(files: CellFiles, records: Sequence[Record]) -> None:
    """Raise DamageError if a journal is another cell's, lacks its start, or skips an epoch."""
    path = files.journal
    starts = {record.configuration for record in records if isinstance(record, Start)} - {None}
    if starts and not files.config.exists():
        raise DamageError(f"{files.config}: missing", RETRAIN)
    if starts and starts != {configuration_digest(files)}:
        raise DamageError(f"{path}: is not the journal of the cell in config.json", RETRAIN)

    if records and not isinstance(records[0], Start | Failed):
        raise DamageError(f"{path}: its first record is missing", RETRAIN)

    for kind in (EarlyEpoch, Epoch):
        numbers = [record.epoch for record in records if isinstance(record, kind)]
        if numbers != list(range(len(numbers))):
            raise DamageError(f"{path}: lacks the record of an epoch", RETRAIN)


def _intact_markers(files: CellFiles) -> Iterator[tuple[Path, Json]]:
    """Yield the paths and contents of the markers of all intact checkpoints, newest first."""
    for path in files.checkpoint_markers():
        try:
            marker = read_marker(path)
            check_weights(files.checkpoint_tensors(path), marker["sha256"], None)
        except DamageError:
            continue
        yield path, marker


def _check_best(files: CellFiles, epoch: int) -> None:
    """Raise DamageError unless training can resume from a checkpoint with this best epoch.

    The weights are those of the epoch, or of a later one that will be trained again.
    """
    if epoch < 0:
        return

    marker = read_marker(files.best_marker)
    digest = hashlib.sha256(read_file(files.best)).hexdigest()
    named = [marker, *filter(None, [marker.get("before")])]
    found = [entry["epoch"] for entry in named if entry["sha256"] == digest]
    if not found:
        raise DamageError(f"{files.best}: its content has changed since it was written", RETRAIN)
    if max(found) < epoch:
        raise DamageError(f"{files.best}: is not from epoch {epoch}", RETRAIN)


def _read_json(path: Path) -> Json:
    try:
        content: Any = json.loads(read_file(path))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise DamageError(f"{path}: damaged", RETRAIN)
    return content


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _compare(path: Path, actual: str, digest: str) -> None:
    if actual != digest:
        problem = f"SHA-256 is {actual[:12]}..., but {digest[:12]}... was written"
        raise DamageError(f"{path}: {problem}", RETRAIN)
