"""Journals as plain data: what tests say of a record does not depend on the classes that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.records import journal


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All records of a journal."""
    return [record.model_dump() for record in journal.read_journal(path)]


def append(path: Path, kind: str, **content: Any) -> None:
    """Appends a record to a journal; a metric need not be there."""
    journal.Journal(path).append(journal.parse_record({"kind": kind, **content}))
