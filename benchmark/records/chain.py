"""The chain of a journal: each record has a number and the digest of the record before it.

A record that is missing, moved or changed breaks the chain at the record that follows. The last
record has none after it; the checkpoints and the marker of a finished cell therefore state the
extent of the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

NUMBER = "number"
"""Key of a record: its number, counted from 1."""

PREVIOUS = "previous"
"""Key of a record: the first digits of the SHA-256 of the line before it."""

_DIGITS = 16
"""Number of hexadecimal digits in `PREVIOUS`."""


class Extent(BaseModel):
    """How much a journal contained at some time.

    Attributes:
        records: Number of records.
        size: Size in bytes.
        sha256: SHA-256 of these bytes.
    """

    model_config = ConfigDict(frozen=True)

    records: int
    size: int
    sha256: str

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Extent:
        """Return the extent of a journal with these lines."""
        content = b"".join(lines)
        digest = hashlib.sha256(content).hexdigest()
        return cls(records=len(lines), size=len(content), sha256=digest)

    def begins(self, content: bytes) -> bool:
        """Return whether a journal still begins with what it contained at that time."""
        start = content[: self.size]
        return len(start) == self.size and hashlib.sha256(start).hexdigest() == self.sha256


class Chain:
    """Follows the lines of a journal from the first to the last.

    Journals of earlier versions of kdbench are not chained. A record that this version appends to
    such a journal is linked to the last of these records, and all later ones must be linked.

    Attributes:
        records: Number of lines so far.
        linked: Whether the last of them is linked to the one before.
        whole: Whether all of them are linked.
    """

    def __init__(self) -> None:
        self.records = 0
        self.linked = False
        self.whole = True
        self._size = 0
        self._digest = hashlib.sha256()
        self._previous = ""

    @property
    def extent(self) -> Extent:
        """What the journal contains so far."""
        return Extent(records=self.records, size=self._size, sha256=self._digest.hexdigest())

    def link(self) -> dict[str, Any]:
        """Return the keys that link the next record to the last one."""
        return {NUMBER: self.records + 1, PREVIOUS: self._previous}

    def continues(self, content: Mapping[str, Any]) -> bool:
        """Return whether a record is the next one; an unlinked one follows only unlinked ones."""
        if NUMBER not in content and PREVIOUS not in content:
            return not self.linked
        return all(content.get(key) == value for key, value in self.link().items())

    def add(self, line: bytes, content: Mapping[str, Any]) -> None:
        """Add the next line, which contains a record."""
        self.linked = NUMBER in content
        self.whole = self.whole and self.linked
        self.records += 1
        self._size += len(line)
        self._digest.update(line)
        self._previous = hashlib.sha256(line).hexdigest()[:_DIGITS]
