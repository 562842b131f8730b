"""The record of a cell on disk: configuration, append-only journal, checkpoints, done marker.

Everything else (MLflow, leaderboards) can be rebuilt from these files. A journal holds one JSON record per line with a
checksum: `start` (each time training begins or goes on), `early` (an epoch of the stage before the training, where the
method has one), `epoch`, `trained`, `final`, `failed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.files import unwritten

Record = dict[str, Any]
SEALED = re.compile(rb'\{"crc":"([0-9a-f]{8})","record":(.*)\}\n', re.DOTALL)


def sealed_line(record: Record) -> bytes:
    """A record as a line with its checksum."""
    body = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return f'{{"crc":"{zlib.crc32(body.encode()):08x}","record":{body}}}\n'.encode()


def opened(line: bytes) -> Record | None:
    """The record in a sealed line; None if a bit of it is not as it was written."""
    sealed = SEALED.fullmatch(line)
    if sealed is None or int(sealed[1], 16) != zlib.crc32(sealed[2]):
        return None
    record: Record = json.loads(sealed[2])
    return record


def read_journal(path: Path) -> list[Record]:
    """All whole records. A torn last line (a crash in mid-write) is passed over; a broken line before it is refused.

    Raises InputError naming file and line.
    """
    if not path.exists():
        return []
    records = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        record = opened(line + b"\n")
        if record is None:
            raise InputError(
                f"{path}:{number}: this record is damaged; delete the folder to train the cell again"
            )
        records.append(record)
    return records


class Journal:
    """Appends records to a cell's journal; each is on the disk before `append` returns."""

    def __init__(self, path: Path):
        self.path = path
        self.records = read_journal(path)
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)

    def append(self, kind: str, **content: Any) -> None:
        """Adds a record of a kind, with the time in milliseconds unless the content brings its own.

        Raises InputError if the disk refuses it; the journal then ends with the record before.
        """
        record = {"kind": kind, "time": time.time_ns() // 1_000_000, **content}
        line = sealed_line(record)
        whole = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self.path, whole)
            raise InputError(unwritten(self.path, error)) from error
        self.records.append(record)

    def last(self, kind: str) -> Record | None:
        """The newest record of a kind."""
        return next((record for record in reversed(self.records) if record["kind"] == kind), None)

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return sum(record["kind"] == kind for record in self.records)
