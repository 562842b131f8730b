"""Reads and writes journals as plain data, and simulates a full disk."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.files import write_json
from benchmark.records import journal
from benchmark.records.chain import NUMBER, PREVIOUS
from benchmark.records.journal import decode_line, encode_line
from benchmark.records.layout import CellFiles


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return all records of a journal."""
    return [record.model_dump() for record in journal.read_journal(path)]


def append(path: Path, kind: str, **content: Any) -> None:
    """Append a record to a journal."""
    journal.Journal(path).append(journal.parse_record({"kind": kind, **content}))


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit files to `size` bytes, so that longer writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def make_early(files: CellFiles) -> None:
    """Turn a finished record into one of an earlier version, which wrote no chain."""
    records = map(decode_line, files.journal.read_bytes().splitlines(keepends=True))
    unknown = (NUMBER, PREVIOUS, "configuration")
    lines = [
        encode_line({key: value for key, value in record.items() if key not in unknown})
        for record in records
        if record is not None
    ]
    files.journal.write_bytes(b"".join(lines))
    done = json.loads(files.done.read_text())
    new = ("journal", "size", "time", "configuration")
    write_json(files.done, {key: value for key, value in done.items() if key not in new})
