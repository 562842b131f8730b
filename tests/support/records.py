"""Reads and writes journals as plain data, and simulates a full disk."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.records import journal


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
