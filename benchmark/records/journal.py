"""The journal of a cell: append-only, one JSON record with a checksum per line.

Each record is linked to the one before it (`benchmark.records.chain`).
Everything else (MLflow, leaderboards) can be rebuilt from the journals.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.errors import DamageError, InputError
from benchmark.failpoint import failpoint
from benchmark.files import write_error
from benchmark.records.chain import Chain, Extent
from benchmark.records.reading import RETRAIN, read_error

Json = dict[str, Any]

_LINE = re.compile(rb'\{"crc":"([0-9a-f]{8})","record":(.*)\}\n', re.DOTALL)


def _now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Record(BaseModel):
    """A line of a journal.

    Attributes:
        time: Time at which the record was written, in milliseconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    time: int = Field(default_factory=_now)


class Start(Record):
    """Training begins or resumes.

    Attributes:
        epoch: Number of the next epoch, counted from 0, early stage included.
        environment: Versions, machine and commit.
        configuration: Identity of the configuration; None in journals of earlier versions.
    """

    kind: Literal["start"] = "start"
    epoch: int
    environment: dict[str, str]
    configuration: str | None = None


class EarlyEpoch(Record):
    """An epoch of the early stage that some methods run before training, counted from 0.

    Attributes:
        note: How the device ran the steps; None if as they are written.
    """

    kind: Literal["early"] = "early"
    epoch: int
    metrics: dict[str, float]
    note: str | None = None


class Epoch(Record):
    """An epoch of the main training stage, counted from 0.

    Attributes:
        note: How the device ran the steps; None if as they are written.
    """

    kind: Literal["epoch"] = "epoch"
    epoch: int
    metrics: dict[str, float]
    note: str | None = None


class Stopped(BaseModel):
    """A training that its time limit ended early.

    Attributes:
        after: Number of epochs of the main training that were trained.
        planned: Number of epochs of the main training without the limit.
    """

    model_config = ConfigDict(frozen=True)

    after: int
    planned: int


class Trained(Record):
    """Training has finished, and the weights have been chosen.

    Attributes:
        epoch: Epoch of the weights.
        sha256: Digest of the weights' file.
        stopped: When the time limit ended the training; None if all epochs were trained.
    """

    kind: Literal["trained"] = "trained"
    epoch: int
    sha256: str
    stopped: Stopped | None = None


class Final(Record):
    """The results: test metrics and costs."""

    kind: Literal["final"] = "final"
    metrics: dict[str, float]


class Measured(Record):
    """The metrics of plug-ins, measured on a finished network; the newest record counts.

    Attributes:
        code: Digests of the code of each metric, by its key.
    """

    kind: Literal["measured"] = "measured"
    metrics: dict[str, float]
    code: dict[str, dict[str, str]]


class Failed(Record):
    """The cell left its cohort.

    Attributes:
        reason: Why it left, in one line.
    """

    kind: Literal["failed"] = "failed"
    reason: str


AnyRecord = Annotated[
    Start | EarlyEpoch | Epoch | Trained | Final | Measured | Failed, Field(discriminator="kind")
]
R = TypeVar("R", bound=Record)

_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyRecord)


def parse_record(content: Mapping[str, Any]) -> Record:
    """Return the record with this content.

    Raises:
        ValueError: The content does not match any kind of record.
    """
    record: Record = _ADAPTER.validate_python(content)
    return record


def metrics_of(record: Record) -> dict[str, float]:
    """Return the metrics of a record; empty for kinds that have none."""
    if isinstance(record, EarlyEpoch | Epoch | Final | Measured):
        return record.metrics
    return {}


def encode_line(content: Json) -> bytes:
    """Return a line with the content as JSON and its checksum."""
    body = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f'{{"crc":"{zlib.crc32(body.encode()):08x}","record":{body}}}\n'.encode()


def decode_line(line: bytes) -> Json | None:
    """Return the content of a line, or None if the line is damaged."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None

    try:
        content = json.loads(match[2])
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_journal(path: Path) -> list[Record]:
    """Return all complete records of a journal; empty if there is no file.

    An incomplete last line, left by a crash during writing, is ignored.

    Raises:
        DamageError: A complete line is damaged, or does not follow the one before it.
        InputError: The kind of a record is unknown to this version of kdbench, or the file cannot
            be read.
    """
    records, _ = parse_journal(path, read_content(path))
    return records


def read_content(path: Path) -> bytes:
    """Return the bytes of a journal; none if there is no file.

    Raises:
        DamageError: Something else is in its place.
        InputError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise read_error(path, error) from None


def parse_journal(path: Path, content: bytes) -> tuple[list[Record], Chain]:
    """Return the complete records in the content of a journal, and their chain.

    Args:
        path: The file, for messages.
        content: Its bytes.

    Raises:
        DamageError: A complete line is damaged, or does not follow the one before it.
        InputError: The kind of a record is unknown to this version of kdbench.
    """
    records: list[Record] = []
    chain = Chain()
    *lines, _ = content.split(b"\n")
    for number, start in enumerate(lines, start=1):
        line = start + b"\n"
        values = decode_line(line)
        if values is None:
            raise DamageError(f"{path}:{number}: this record is damaged", RETRAIN)
        if not chain.continues(values):
            problem = "this record does not follow the one before: records are missing or changed"
            raise DamageError(f"{path}:{number}: {problem}", RETRAIN)

        chain.add(line, values)
        records.append(_record(path, number, values))

    return records, chain


def _record(path: Path, number: int, content: Json) -> Record:
    """Return the record of a line, or raise InputError if this version does not know its kind."""
    try:
        return parse_record(content)
    except ValidationError:
        kind = content.get("kind")
        remedy = "open it with the version of kdbench that wrote it"
        raise InputError(f"{path}:{number}: unknown record {kind!r}; {remedy}") from None


def read_start(path: Path) -> int | None:
    """Return the time of a journal's first record in milliseconds, or None if it has none.

    Raises:
        DamageError: The record is damaged.
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_error(path, error) from None

    if not line.endswith(b"\n"):
        return None

    content = decode_line(line)
    if content is None:
        raise DamageError(f"{path}:1: this record is damaged", RETRAIN)
    return int(content["time"])


class Journal:
    """Appends to a cell's journal; every record is on disk before `append` returns.

    Attributes:
        path: The file.
        records: All records, oldest first.
    """

    def __init__(self, path: Path):
        """Open a journal, cutting off an incomplete last line.

        Raises:
            DamageError: A record is damaged, or does not follow the one before it.
            InputError: The kind of a record is unknown to this version of kdbench, or the file
                cannot be read or written.
        """
        self.path = path
        content = read_content(path)
        self.records, self._chain = parse_journal(path, content)

        whole = self._chain.extent.size
        if whole < len(content):
            try:
                os.truncate(path, whole)
            except OSError as error:
                raise write_error(path, error) from error

    @property
    def extent(self) -> Extent:
        """What the journal contains now."""
        return self._chain.extent

    def append(self, record: Record) -> None:
        """Append a record.

        Raises:
            InputError: The record cannot be written. The journal is left unchanged.
        """
        content = {**record.model_dump(exclude_none=True), **self._chain.link()}
        line = encode_line(content)
        size = self.path.stat().st_size if self.path.exists() else 0

        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            raise write_error(self.path, error) from error

        self._chain.add(line, content)
        self.records.append(record)
        failpoint("journal.appended")

    def last(self, kind: type[R]) -> R | None:
        """Return the newest record of a kind, if there is one."""
        records = (record for record in reversed(self.records) if isinstance(record, kind))

        return next(records, None)

    def count(self, kind: type[Record]) -> int:
        """Return how many records of a kind there are."""
        return sum(isinstance(record, kind) for record in self.records)
